package route

import (
	"context"
	"errors"
	"io"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/node/sched"
)

// follower is one client's Execute or WaitExecution. It holds the client's stream
// itself, so that the stream outlives a change of the leader.
type follower struct {
	r      *Router
	stream grpc.ServerStream
	m      method        // what is asked of the next target
	in     proto.Message // with it
	origin sched.Origin
	last   *longrunningpb.Operation // sent to the client; nil: nothing yet
	gone   error                    // the client is
}

// execution answers a client's Execute or WaitExecution. The operation's id is
// chosen here: an Execute whose answer was lost is repeated with the same one, and
// finds what it began.
func (r *Router) execution(m method, in proto.Message, stream grpc.ServerStream) error {
	f := &follower{r: r, stream: stream, m: m, in: in, origin: sched.Origin{Client: clientOf(stream.Context())}}
	if _, ok := in.(*repb.ExecuteRequest); ok {
		f.origin.OperationID = uuid.NewString()
	}
	err := r.try(stream.Context(), f.attempt)
	if f.gone != nil {
		return f.gone
	}
	return err
}

// attempt follows the operation at one target.
func (f *follower) attempt(ctx context.Context, t *target) (progress bool, err error) {
	before := f.last
	err = f.at(ctx, t)
	if f.last != nil && !f.last.Done {
		f.m, f.in = f.r.waitExecution(), &repb.WaitExecutionRequest{Name: f.last.Name}
	}
	switch {
	case f.last != nil && f.last.Done, f.gone != nil:
		err = nil
	case err == nil:
		err = unavailable("the leader ended a stream before its operation was done")
	}
	return f.last != before, err
}

func (f *follower) at(ctx context.Context, t *target) error {
	if t.local != nil {
		return t.local.stream(sched.WithOrigin(ctx, f.origin), f.m.full, f.in, f.stream, f.send)
	}
	conn, err := f.r.o.Cluster.Conn(t.id)
	if err != nil {
		return unavailable(err.Error())
	}
	stream, err := conn.NewStream(passOn(ctx, f.origin), &grpc.StreamDesc{ServerStreams: true}, f.m.full, grpc.MaxCallRecvMsgSize(maxReply))
	if err != nil {
		return err
	}
	if err := errors.Join(stream.SendMsg(f.in), stream.CloseSend()); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for {
		op := new(longrunningpb.Operation)
		switch err := stream.RecvMsg(op); {
		case errors.Is(err, io.EOF):
			f.stream.SetTrailer(stream.Trailer())
			return nil
		case err != nil:
			return err
		}
		if err := f.send(op); err != nil {
			return err
		}
	}
}

// send passes a state on, unless it is the one that the client has: a stream that
// was taken up again begins with it.
func (f *follower) send(m proto.Message) error {
	op, ok := m.(*longrunningpb.Operation)
	if !ok {
		return status.Errorf(codes.Internal, "an execution sends a %T", m)
	}
	if f.last != nil && proto.Equal(op, f.last) {
		return nil
	}
	if err := f.stream.SendMsg(op); err != nil {
		f.gone = err
		return err
	}
	f.last = op
	return nil
}

// waitExecution is the method by which an operation is followed again.
func (r *Router) waitExecution() method {
	for _, s := range r.services {
		if m, ok := s.methods["WaitExecution"]; ok {
			return m
		}
	}
	return method{}
}

// peerExecution answers another node's Execute or WaitExecution.
func (r *Router) peerExecution(m method, in proto.Message, stream grpc.ServerStream) error {
	ctx := stream.Context()
	t, err := r.lead(ctx)
	if err != nil {
		return err
	}
	during, end := t.during(ctx)
	defer end()
	return t.settle(ctx, t.local.stream(sched.WithOrigin(during, originOf(ctx)), m.full, in, stream,
		func(m proto.Message) error { return stream.SendMsg(m) }))
}
