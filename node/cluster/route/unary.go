package route

import (
	"context"
	"errors"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

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
	began := time.Now()
	err := r.try(ctx, func(ctx context.Context, t *target) (bool, error) {
		reply, err := r.unaryAt(ctx, t, m, left(in, time.Since(began)), o)
		if o.Repeated && isDelete(m) && status.Code(err) == codes.NotFound { // by the call before, whose answer was lost
			reply, err = m.out.New().Interface(), nil
		}
		out, o.Repeated = reply, true
		return false, err
	})
	return out, err
}

func isDelete(m method) bool { return m.full == "/google.longrunning.Operations/DeleteOperation" }

// left is what is asked after some time: who waits for an operation waits no
// longer than it said, whoever leads meanwhile.
func left(in proto.Message, passed time.Duration) proto.Message {
	w, ok := in.(*longrunningpb.WaitOperationRequest)
	if !ok || w.Timeout.CheckValid() != nil || w.Timeout.AsDuration() < 0 {
		return in
	}
	return &longrunningpb.WaitOperationRequest{Name: w.Name, Timeout: durationpb.New(max(0, w.Timeout.AsDuration()-passed))}
}

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
		_ = grpc.SetTrailer(ctx, trailer) // fails only when the client is gone
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

// settle makes an error UNAVAILABLE that is not about what the caller asked. ctx is
// the caller's.
func (t *target) settle(ctx context.Context, err error) error {
	if err != nil && ctx.Err() == nil && (t.over() || passes(err)) {
		return unavailable("the leader changes")
	}
	return err
}

// lead returns this node as the target; UNAVAILABLE when it does not lead. One that
// was just elected is waited for: less long than the caller has patience.
func (r *Router) lead(ctx context.Context) (*target, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.o.Patience/2, errNotYet)
	defer cancel()
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
		timer := time.NewTimer(lookEvery) // it may lose the lead before it serves
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, notYet(ctx)
		}
		timer.Stop()
	}
}

var errNotYet = errors.New("this node leads, and does not serve yet")

func notYet(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), errNotYet) {
		return unavailable(errNotYet.Error())
	}
	return status.FromContextError(ctx.Err()).Err()
}
