package reapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
)

// noProposer refuses everything.
type noProposer struct{ err error }

func (p noProposer) Propose(context.Context, ...*commandpb.Entry) (raftfsm.Result, error) {
	if p.err == nil {
		return raftfsm.Result{}, errors.New("disk")
	}
	return raftfsm.Result{}, p.err
}

// servePanics serves test.Panics, guarded, behind an interceptor.
func servePanics(t *testing.T, log io.Writer) *grpc.ClientConn {
	t.Helper()
	options := append(ServerOptions(), grpc.UnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			reply, err := h(ctx, req)
			if err == nil {
				t.Error("the interceptor saw no error")
			}
			return reply, err
		}))
	gs := grpc.NewServer(options...)
	guarded{gs, slog.New(slog.NewTextHandler(log, nil))}.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.Panics", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Unary", Handler: handler("test.Panics", "Unary",
			func(context.Context, *emptypb.Empty) (*emptypb.Empty, error) { panic("secret") })}},
		Streams: []grpc.StreamDesc{{StreamName: "Stream", ServerStreams: true, Handler: func(any, grpc.ServerStream) error { panic("secret") }}},
	}, struct{}{})
	l := bufconn.Listen(1 << 16)
	go func() { _ = gs.Serve(l) }()
	t.Cleanup(gs.Stop)
	conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
