package route

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// service is one that the router serves.
type service struct {
	desc    *grpc.ServiceDesc
	methods map[string]method // by name
}

// method knows the messages of a method.
type method struct {
	full    string
	in, out protoreflect.MessageType
}

// Handle makes the router serve a service. Of its streams only Execute and
// WaitExecution are served. Call it before Register and RegisterPeer.
func (r *Router) Handle(desc *grpc.ServiceDesc) error {
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(desc.ServiceName))
	if err != nil {
		return fmt.Errorf("route %s: %w", desc.ServiceName, err)
	}
	s := service{desc: desc, methods: map[string]method{}}
	list := found.(protoreflect.ServiceDescriptor).Methods()
	for i := range list.Len() {
		d := list.Get(i)
		m := method{full: "/" + desc.ServiceName + "/" + string(d.Name())}
		if m.in, err = protoregistry.GlobalTypes.FindMessageByName(d.Input().FullName()); err != nil {
			return fmt.Errorf("route %s: %w", m.full, err)
		}
		if m.out, err = protoregistry.GlobalTypes.FindMessageByName(d.Output().FullName()); err != nil {
			return fmt.Errorf("route %s: %w", m.full, err)
		}
		s.methods[string(d.Name())] = m
	}
	r.services = append(r.services, s)
	return nil
}

// Register makes s, the server for clients, serve the router's services.
func (r *Router) Register(s grpc.ServiceRegistrar) { r.register(s, r.unary, r.execution) }

// RegisterPeer makes s, the server for the other nodes, serve them while this node
// leads. A call that comes when it does not is answered with UNAVAILABLE.
func (r *Router) RegisterPeer(s grpc.ServiceRegistrar) { r.register(s, r.peerUnary, r.peerExecution) }

type (
	unaryFunc  func(ctx context.Context, m method, in proto.Message) (proto.Message, error)
	streamFunc func(m method, in proto.Message, stream grpc.ServerStream) error
)

func (r *Router) register(s grpc.ServiceRegistrar, unary unaryFunc, stream streamFunc) {
	for _, sv := range r.services {
		d := grpc.ServiceDesc{ServiceName: sv.desc.ServiceName, HandlerType: (*any)(nil), Metadata: sv.desc.Metadata}
		for _, m := range sv.desc.Methods {
			d.Methods = append(d.Methods, grpc.MethodDesc{MethodName: m.MethodName, Handler: unaryHandler(sv.methods[m.MethodName], unary)})
		}
		for _, m := range sv.desc.Streams {
			d.Streams = append(d.Streams, grpc.StreamDesc{
				StreamName: m.StreamName, ServerStreams: true, Handler: streamHandler(sv.methods[m.StreamName], stream),
			})
		}
		s.RegisterService(&d, r)
	}
}

func unaryHandler(m method, call unaryFunc) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
		in := m.in.New().Interface()
		if err := decode(in); err != nil {
			return nil, err
		}
		handle := func(ctx context.Context, in any) (any, error) {
			out, err := call(ctx, m, in.(proto.Message))
			if err != nil {
				return nil, err
			}
			return out, nil
		}
		if interceptor == nil {
			return handle(ctx, in)
		}
		return interceptor(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: m.full}, handle)
	}
}

func streamHandler(m method, call streamFunc) grpc.StreamHandler {
	return func(_ any, stream grpc.ServerStream) error {
		in := m.in.New().Interface()
		if err := stream.RecvMsg(in); err != nil {
			return err
		}
		return call(m, in, stream)
	}
}
