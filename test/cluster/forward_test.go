package cluster

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// backend is a server with nothing but a health service that counts its clients.
type backend struct {
	address string
	health  *health.Server
	calls   atomic.Int64
}

func startBackend(t *testing.T) *backend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{address: l.Addr().String(), health: health.NewServer()}
	s := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if req.(*healthpb.HealthCheckRequest).Service == "" {
			b.calls.Add(1)
		}
		return next(ctx, req)
	}))
	healthpb.RegisterHealthServer(s, b.health)
	b.ready(true)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return b
}

func (b *backend) ready(yes bool) {
	s := healthpb.HealthCheckResponse_NOT_SERVING
	if yes {
		s = healthpb.HealthCheckResponse_SERVING
	}
	b.health.SetServingStatus("readiness", s)
}

func TestTheForwarderPicksNodesThatCanServe(t *testing.T) {
	a, b := startBackend(t), startBackend(t)
	b.ready(false)
	f, err := Forward("127.0.0.1:0", []string{a.address, b.address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	connect := func() *grpc.ClientConn {
		t.Helper()
		conn, err := grpc.NewClient("passthrough:///"+f.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	ask := func(conn *grpc.ClientConn) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
		return err
	}
	stays := connect()
	for range 8 {
		if err := ask(connect()); err != nil {
			t.Fatal(err)
		}
	}
	if err := ask(stays); err != nil {
		t.Fatal(err)
	}
	if n := b.calls.Load(); n != 0 {
		t.Errorf("a node that cannot serve got %d clients", n)
	}
	a.ready(false)
	b.ready(true)
	for b.calls.Load() == 0 {
		if err := ask(connect()); err != nil {
			t.Fatal(err)
		}
	}
	before := a.calls.Load()
	if err := ask(stays); err != nil || a.calls.Load() != before+1 {
		t.Errorf("a connection did not stay where it was: %v", err)
	}
}
