package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/bgrid-node/bgrid-node/node/admin"
)

// What the pages of a node ask of the one that leads. The messages are JSON: both
// ends have the same types, and an unknown field is of a newer version.
const (
	pagesService = "bgrid.node.v1.Pages"
	askStatus    = "Status"
	askOperation = "Operation"
	askDrain     = "DrainWorker"
)

// drainRequest asks for a worker to be taken out of service, or back into it.
type drainRequest struct {
	BotID string
	Drain bool
}

// registerPages makes s answer the pages of other nodes while this one leads.
func registerPages(s grpc.ServiceRegistrar, n *Node) {
	local := &source{node: n}
	d := grpc.ServiceDesc{ServiceName: pagesService, HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{
		pagesMethod(n, askStatus, func(ctx context.Context, _ []byte) (any, error) { return local.leaderStatus(ctx) }),
		pagesMethod(n, askOperation, func(ctx context.Context, in []byte) (any, error) {
			var name string
			if err := json.Unmarshal(in, &name); err != nil {
				return nil, status.Error(codes.InvalidArgument, err.Error())
			}
			return local.operation(ctx, name)
		}),
		pagesMethod(n, askDrain, func(_ context.Context, in []byte) (any, error) {
			var r drainRequest
			if err := json.Unmarshal(in, &r); err != nil {
				return nil, status.Error(codes.InvalidArgument, err.Error())
			}
			return struct{}{}, local.drainWorker(r)
		}),
	}}
	s.RegisterService(&d, n)
}

// pagesMethod answers one question.
func pagesMethod(n *Node, name string, answer func(ctx context.Context, in []byte) (any, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(wrapperspb.BytesValue)
		if err := decode(in); err != nil {
			return nil, err
		}
		if n.scheduler.Load() == nil {
			return nil, status.Error(codes.Unavailable, errNoLeader.Error())
		}
		out, err := answer(ctx, in.Value)
		switch {
		case errors.Is(err, admin.ErrNotFound), errors.Is(err, admin.ErrNoWorker):
			return nil, status.Error(codes.NotFound, err.Error())
		case err != nil:
			return nil, err
		}
		data, err := json.Marshal(out)
		if err != nil {
			return nil, err
		}
		return wrapperspb.Bytes(data), nil
	}}
}

// errNoLeader is what pages say while the cluster has none.
var errNoLeader = errors.New("the cluster has no leader that this node can reach")

// askLeader asks the node that leads. notFound is what NOT_FOUND means.
func (n *Node) askLeader(ctx context.Context, method string, in, out any, notFound error) error {
	id, ok := n.cluster.Leader()
	if !ok || id == n.cluster.Self() {
		return errNoLeader
	}
	conn, err := n.cluster.Conn(id)
	if err != nil {
		return fmt.Errorf("ask %s, which leads: %w", id, err)
	}
	data, err := json.Marshal(in)
	if err != nil {
		return err
	}
	reply := new(wrapperspb.BytesValue)
	err = conn.Invoke(ctx, "/"+pagesService+"/"+method, wrapperspb.Bytes(data), reply)
	switch {
	case status.Code(err) == codes.NotFound:
		return notFound
	case err != nil:
		return fmt.Errorf("ask %s, which leads: %w", id, err)
	}
	return json.Unmarshal(reply.Value, out)
}
