// Package reapi serves the Remote Execution API, ByteStream and Operations at the
// wire, over the stores and the scheduler. See DESIGN.md.
package reapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	logpb "github.com/bazelbuild/remote-apis/build/bazel/remote/logstream/v1"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"

	"github.com/bgrid-node/bgrid-node/node/sched"
)

// memoBytes bounds the memory for parsed actions.
const memoBytes = 16 << 20

// freshFor is how long an Action that was found present is believed to be, before
// the store is asked again. A use protects for hours.
const freshFor = 10 * time.Second

// Register makes s serve all that RegisterStorage and RegisterExecution serve.
func Register(s grpc.ServiceRegistrar, o Options) error {
	if err := RegisterStorage(s, o); err != nil {
		return err
	}
	return RegisterExecution(s, o)
}

// RegisterStorage makes s serve Capabilities, ContentAddressableStorage,
// ByteStream, ActionCache and, with Options.Streams, LogStreamService; it needs no
// Options.Scheduler. A *grpc.Server must have been made with ServerOptions: some
// messages need its codec.
func RegisterStorage(s grpc.ServiceRegistrar, o Options) error {
	if err := o.Validate(); err != nil {
		return fmt.Errorf("register services: %w", err)
	}
	o = o.withDefaults()
	names := instances{name: o.Instance, empty: o.EmptyInstance}
	g := guarded{s, o.Logger}

	repb.RegisterCapabilitiesServer(g, newCapabilities(names, o.MaxBlobBytes))
	registerCAS(g, &casService{instances: names, store: o.CAS})
	registerByteStream(g, newByteStream(names, o))
	repb.RegisterActionCacheServer(g, &actionCache{
		instances: names, results: o.Results, inliner: inliner{o.CAS}, store: o.CAS, proposer: o.Proposer, barrier: o.ReadBarrier,
	})
	if o.Streams != nil {
		logpb.RegisterLogStreamServiceServer(g, &logStreams{instances: names, hub: o.Streams})
	}
	return nil
}

// RegisterExecution makes s serve Execution and Operations.
func RegisterExecution(s grpc.ServiceRegistrar, o Options) error {
	if err := o.Validate(); err != nil {
		return fmt.Errorf("register services: %w", err)
	}
	if o.Scheduler == nil {
		return errors.New("register services: Scheduler must be set")
	}
	o = o.withDefaults()
	names := instances{name: o.Instance, empty: o.EmptyInstance}
	scheduler := watchable{o.Scheduler}
	g := guarded{s, o.Logger}
	repb.RegisterExecutionServer(g, &execution{
		instances: names,
		actions: &actions{
			blobs: o.CAS, inputs: o.Results, keys: newPlatformKeys(o.MatchedKeys, o.CarriedKeys),
			maxTimeout: o.MaxTimeout, freshFor: freshFor, memo: newMemo(memoBytes),
		},
		scheduler: scheduler, results: o.Results, inliner: inliner{o.CAS}, closing: o.Closing, log: o.Logger,
	})
	longrunningpb.RegisterOperationsServer(g, &operations{instances: names, operations: scheduler, closing: o.Closing})
	return nil
}

// watchable gives a scheduler's watch the type that this package wants.
type watchable struct{ *sched.Scheduler }

// Watch hides sched.Scheduler.Watch.
func (w watchable) Watch(ctx context.Context, name string) (watch, error) {
	found, err := w.Scheduler.Watch(ctx, name)
	if err != nil {
		return nil, err
	}
	return found, nil
}

// registerCAS registers the service with its own messages where it has them.
func registerCAS(s grpc.ServiceRegistrar, c *casService) {
	desc := repb.ContentAddressableStorage_ServiceDesc
	desc.Methods = slices.Clone(desc.Methods)
	for i := range desc.Methods {
		switch m := &desc.Methods[i]; m.MethodName {
		case "FindMissingBlobs":
			m.Handler = handler(desc.ServiceName, m.MethodName, c.findMissing)
		case "BatchUpdateBlobs":
			m.Handler = handler(desc.ServiceName, m.MethodName, c.update)
		case "BatchReadBlobs":
			m.Handler = handler(desc.ServiceName, m.MethodName, c.read)
		}
	}
	s.RegisterService(&desc, c)
}

// handler serves a method as generated code does, also with messages of our own.
// The memory of a request that has some is given back when the call has returned,
// before the response is sent.
func handler[Request, Response any](service, method string, call func(context.Context, *Request) (Response, error)) grpc.MethodHandler {
	full := "/" + service + "/" + method
	return func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
		req := new(Request)
		if m, ok := any(req).(interface{ free() }); ok {
			defer m.free()
		}
		if err := decode(req); err != nil {
			return nil, err
		}
		if interceptor == nil {
			return result(call(ctx, req))
		}
		info := &grpc.UnaryServerInfo{Server: srv, FullMethod: full}
		return interceptor(ctx, req, info, func(ctx context.Context, req any) (any, error) {
			return result(call(ctx, req.(*Request)))
		})
	}
}

// result keeps a nil pointer out of an interface.
func result[Response any](r Response, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return r, nil
}

// registerByteStream registers the service; the generated code for it takes
// nothing but a *grpc.Server, and copies what is written.
func registerByteStream(s grpc.ServiceRegistrar, b *byteStream) {
	const name = "google.bytestream.ByteStream"
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: name,
		HandlerType: (*bspb.ByteStreamServer)(nil),
		Methods: []grpc.MethodDesc{
			{MethodName: "QueryWriteStatus", Handler: handler(name, "QueryWriteStatus", b.QueryWriteStatus)},
		},
		Streams: []grpc.StreamDesc{
			{StreamName: "Write", ClientStreams: true, Handler: func(_ any, stream grpc.ServerStream) error { return b.write(stream) }},
			{StreamName: "Read", ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
				req := new(bspb.ReadRequest)
				if err := stream.RecvMsg(req); err != nil {
					return err
				}
				return b.read(req, stream)
			}},
		},
		Metadata: "google/bytestream/bytestream.proto",
	}, b)
}
