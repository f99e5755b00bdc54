package route

import (
	"context"
	"errors"
	"io"
	"time"

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
	asked  question // by the client
	next   question // for the next target
	origin sched.Origin
	last   *longrunningpb.Operation // sent to the client; nil: nothing yet
	heard  bool                     // the target told something, be it news or not
	gone   error                    // the client is
}

// question is a call that a stream of operations answers.
type question struct {
	m  method
	in proto.Message
}

// execution answers a client's Execute or WaitExecution. The operation's id is
// chosen here: an Execute whose answer was lost is repeated with the same one, and
// finds what it began.
func (r *Router) execution(m method, in proto.Message, stream grpc.ServerStream) error {
	asked := question{m, in}
	f := &follower{r: r, stream: stream, asked: asked, next: asked, origin: sched.Origin{Client: clientOf(stream.Context())}}
	if f.executes() {
		f.origin.OperationID = uuid.NewString()
	}
	err := r.try(stream.Context(), f.attempt)
	if f.gone != nil {
		return f.gone
	}
	return err
}

func (f *follower) executes() bool { _, ok := f.asked.in.(*repb.ExecuteRequest); return ok }

// attempt follows the operation at one target. It got somewhere when the target
// told something, and did not break off at once.
func (f *follower) attempt(ctx context.Context, t *target) (progress bool, err error) {
	before, began := f.last, time.Now()
	f.heard = false
	err = f.at(ctx, t)
	f.origin.Repeated = f.executes()
	switch {
	case f.last != nil && f.last.Done, f.gone != nil:
		return true, nil
	case f.last != before:
		f.next = question{f.r.waitExecution(), &repb.WaitExecutionRequest{Name: f.last.Name}}
	case status.Code(err) == codes.NotFound && f.executes() && f.next.in != f.asked.in:
		// The client would ask again what it asked first, and so does its node.
		f.next = f.asked
		return false, unavailable("the operation is not there any more: " + status.Convert(err).Message())
	}
	if err == nil {
		err = unavailable("the leader ended a stream before its operation was done")
	}
	return f.heard && time.Since(began) >= lastPause, err
}

func (f *follower) at(ctx context.Context, t *target) error {
	if t.local != nil {
		return t.local.stream(sched.WithOrigin(ctx, f.origin), f.next.m.full, f.next.in, f.stream, f.send)
	}
	conn, err := f.r.o.Cluster.Conn(t.id)
	if err != nil {
		return unavailable(err.Error())
	}
	stream, err := conn.NewStream(passOn(ctx, f.origin), &grpc.StreamDesc{ServerStreams: true}, f.next.m.full, grpc.MaxCallRecvMsgSize(maxReply))
	if err != nil {
		return err
	}
	if err := errors.Join(stream.SendMsg(f.next.in), stream.CloseSend()); err != nil && !errors.Is(err, io.EOF) {
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
	f.heard = true
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
