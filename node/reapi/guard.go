package reapi

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// guarded registers services whose every method
//   - answers a message that is no protobuf with INVALID_ARGUMENT, where grpc-go
//     says INTERNAL;
//   - answers a panic with INTERNAL and logs it, instead of ending the process;
//   - logs what it answers with INTERNAL, which is never the client's doing.
//
// It stands inside all interceptors, so that they see what the client sees.
type guarded struct {
	grpc.ServiceRegistrar
	log *slog.Logger
}

// Guard returns a registrar that gives services of other packages the same
// treatment, and their errors the same codes, as those of this one get. s must
// have been made with ServerOptions.
func Guard(s grpc.ServiceRegistrar, log *slog.Logger) grpc.ServiceRegistrar { return guarded{s, log} }

// RegisterService implements grpc.ServiceRegistrar.
func (g guarded) RegisterService(desc *grpc.ServiceDesc, impl any) {
	d := *desc
	d.Methods, d.Streams = slices.Clone(desc.Methods), slices.Clone(desc.Streams)
	for i := range d.Methods {
		m := &d.Methods[i]
		m.Handler = g.unary("/"+d.ServiceName+"/"+m.MethodName, m.Handler)
	}
	for i := range d.Streams {
		m := &d.Streams[i]
		m.Handler = g.stream("/"+d.ServiceName+"/"+m.StreamName, m.Handler)
	}
	g.ServiceRegistrar.RegisterService(&d, impl)
}

func (g guarded) unary(method string, next grpc.MethodHandler) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (reply any, err error) {
		decodeOrRefuse := func(m any) error { return receive(m, decode) }
		if interceptor == nil {
			defer func() { err = g.settle(ctx, method, err, recover()) }()
			return next(srv, ctx, decodeOrRefuse, nil)
		}
		return next(srv, ctx, decodeOrRefuse, func(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			return interceptor(ctx, req, info, func(ctx context.Context, req any) (reply any, err error) {
				defer func() { err = g.settle(ctx, method, err, recover()) }()
				return h(ctx, req)
			})
		})
	}
}

func (g guarded) stream(method string, next grpc.StreamHandler) grpc.StreamHandler {
	return func(srv any, stream grpc.ServerStream) (err error) {
		defer func() { err = g.settle(stream.Context(), method, err, recover()) }()
		return next(srv, strictStream{stream})
	}
}

// strictStream refuses garbage.
type strictStream struct{ grpc.ServerStream }

// RecvMsg implements grpc.ServerStream.
func (s strictStream) RecvMsg(m any) error { return receive(m, s.ServerStream.RecvMsg) }

// receive reads a message by the given means. What the codec cannot read must not
// come back from those: grpc-go answers with INTERNAL by itself then.
func receive(m any, by func(any) error) error {
	l := letter{to: m}
	if err := by(&l); err != nil {
		return err
	}
	if l.err != nil {
		return status.Error(codes.InvalidArgument, bounded("the request is not the message that this method takes: "+l.err.Error()))
	}
	return nil
}

// settle ends a call: with what it returned, or because of a panic.
func (g guarded) settle(ctx context.Context, method string, err error, panicked any) error {
	if panicked != nil {
		g.log.ErrorContext(ctx, "a call panicked", "method", method, "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
		return status.Error(codes.Internal, "an unexpected error in the server; its log has the details")
	}
	if err == nil {
		return nil
	}
	err = statusOf(err)
	if st := status.Convert(err); len(st.Message()) > maxMessage+len("...") {
		p := st.Proto()
		p.Message = bounded(p.Message)
		err = status.ErrorProto(p)
	}
	if status.Code(err) == codes.Internal {
		g.log.ErrorContext(ctx, "a call failed", "method", method, "error", err)
	}
	return err
}
