package route

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/node/sched"
)

// maxReply bounds in bytes what another node answers: a page of operations with
// their results may be large.
const maxReply = 256 << 20

// unary answers a client's call. All methods may be repeated: what they ask for
// is a state, and not a step towards one.
func (r *Router) unary(ctx context.Context, m method, in proto.Message) (proto.Message, error) {
	var out proto.Message
	o := sched.Origin{Client: clientOf(ctx)}
	repeated := false
	err := r.try(ctx, func(ctx context.Context, t *target) (bool, error) {
		reply, err := r.unaryAt(ctx, t, m, in, o)
		if repeated && isDelete(m) && status.Code(err) == codes.NotFound { // by the call before, whose answer was lost
			reply, err = m.out.New().Interface(), nil
		}
		out, repeated = reply, true
		return false, err
	})
	return out, err
}

func isDelete(m method) bool { return m.full == "/google.longrunning.Operations/DeleteOperation" }

// unaryAt asks one target.
func (r *Router) unaryAt(ctx context.Context, t *target, m method, in proto.Message, o sched.Origin) (proto.Message, error) {
	if t.local != nil {
		return t.local.unary(sched.WithOrigin(ctx, o), m.full, in)
	}
	conn, err := r.o.Cluster.Conn(t.id)
	if err != nil {
		return nil, unavailable(err.Error())
	}
	out := m.out.New().Interface()
	var trailer metadata.MD
	if err := conn.Invoke(passOn(ctx, o), m.full, in, out, grpc.Trailer(&trailer), grpc.MaxCallRecvMsgSize(maxReply)); err != nil {
		return nil, err
	}
	if len(trailer) > 0 {
		if err := grpc.SetTrailer(ctx, trailer); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// peerUnary answers another node's call.
func (r *Router) peerUnary(ctx context.Context, m method, in proto.Message) (proto.Message, error) {
	t, err := r.lead(ctx)
	if err != nil {
		return nil, err
	}
	during, end := t.during(ctx)
	defer end()
	out, err := t.local.unary(sched.WithOrigin(during, originOf(ctx)), m.full, in)
	return out, t.settle(ctx, err)
}

// settle makes an error that the end of the target caused UNAVAILABLE.
func (t *target) settle(ctx context.Context, err error) error {
	if err != nil && t.over() && ctx.Err() == nil && passes(err) {
		return unavailable("the leader changes")
	}
	return err
}

// lead returns this node as the target; UNAVAILABLE when it does not lead. One that
// was just elected is waited for.
func (r *Router) lead(ctx context.Context) (*target, error) {
	for {
		r.mu.Lock()
		t, changed, closed := r.target, r.changed, r.closed
		r.mu.Unlock()
		if t.local != nil {
			return t, nil
		}
		if id, ok := r.o.Cluster.Leader(); closed || !ok || id != r.o.Cluster.Self() {
			return nil, unavailable("this node does not lead")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
}
