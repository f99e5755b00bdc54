package route

import (
	"context"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Services are what the leader serves, for calls in process. It is a
// grpc.ServiceRegistrar: register services before Router.Lead.
type Services struct {
	verify  func(context.Context) error
	unaries map[string]unaryImpl
	streams map[string]streamImpl
}

type unaryImpl struct {
	impl   any
	handle grpc.MethodHandler
}

type streamImpl struct {
	impl   any
	handle grpc.StreamHandler
}

// NewServices returns an empty set.
func NewServices() *Services {
	return &Services{unaries: map[string]unaryImpl{}, streams: map[string]streamImpl{}}
}

// RegisterService implements grpc.ServiceRegistrar.
func (s *Services) RegisterService(desc *grpc.ServiceDesc, impl any) {
	for _, m := range desc.Methods {
		s.unaries["/"+desc.ServiceName+"/"+m.MethodName] = unaryImpl{impl, m.Handler}
	}
	for _, m := range desc.Streams {
		s.streams["/"+desc.ServiceName+"/"+m.StreamName] = streamImpl{impl, m.Handler}
	}
}

// unary calls a method.
func (s *Services) unary(ctx context.Context, method string, in proto.Message) (proto.Message, error) {
	m, ok := s.unaries[method]
	if !ok {
		return nil, status.Errorf(codes.Unimplemented, "unknown method %s", method)
	}
	reply, err := m.handle(m.impl, ctx, func(to any) error { return fill(to, in) }, nil)
	if err != nil {
		return nil, s.certain(ctx, err)
	}
	return reply.(proto.Message), nil
}

// stream calls a method that answers with many messages.
func (s *Services) stream(ctx context.Context, method string, in proto.Message, outer grpc.ServerStream, send func(proto.Message) error) error {
	m, ok := s.streams[method]
	if !ok {
		return status.Errorf(codes.Unimplemented, "unknown method %s", method)
	}
	return s.certain(ctx, m.handle(m.impl, &inProcess{ServerStream: outer, ctx: ctx, in: in, send: send}))
}

// certain lets an error through that says what the leader does not know only while
// this node leads: NOT_FOUND, and INVALID_ARGUMENT, by which unknown bot sessions are
// refused, and the cancellation of unknown operations.
func (s *Services) certain(ctx context.Context, err error) error {
	if c := status.Code(err); c != codes.NotFound && c != codes.InvalidArgument {
		return err
	}
	lost := s.verify(ctx)
	if lost == nil {
		lost = ctx.Err() // this node may lead again, but did not in between
	}
	if lost != nil {
		return unavailable("the leader changes: " + lost.Error())
	}
	return err
}

// fill copies a request to where a handler wants it.
func fill(to any, in proto.Message) error {
	if l, ok := to.(interface{ Message() any }); ok { // see reapi.Guard
		to = l.Message()
	}
	m, ok := to.(proto.Message)
	if !ok {
		return status.Errorf(codes.Internal, "a handler reads into %T", to)
	}
	proto.Merge(m, in)
	return nil
}

// inProcess is the stream of a call in process: one request, many answers.
type inProcess struct {
	grpc.ServerStream
	ctx  context.Context //nolint:containedctx // of the call
	in   proto.Message   // nil once it was read
	send func(proto.Message) error
}

// Context implements grpc.ServerStream.
func (s *inProcess) Context() context.Context { return s.ctx }

// RecvMsg implements grpc.ServerStream.
func (s *inProcess) RecvMsg(to any) error {
	if s.in == nil {
		return io.EOF
	}
	in := s.in
	s.in = nil
	return fill(to, in)
}

// SendMsg implements grpc.ServerStream.
func (s *inProcess) SendMsg(m any) error { return s.send(m.(proto.Message)) }
