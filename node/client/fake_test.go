package client

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// fake is a server that behaves, and misbehaves, as its fields say.
type fake struct {
	repb.UnimplementedCapabilitiesServer
	repb.UnimplementedContentAddressableStorageServer
	repb.UnimplementedActionCacheServer
	repb.UnimplementedExecutionServer
	bytestream.UnimplementedByteStreamServer
	longrunningpb.UnimplementedOperationsServer

	// Set before serve.
	caps     *repb.ServerCapabilities // nil: Capabilities is not served
	noBatch  bool
	noTree   bool
	noStatus bool // QueryWriteStatus is not served
	pageSize int  // of GetTree; 0: all at once
	// fault may refuse the n-th call (from 1) of a method.
	fault func(method string, n int) error
	// blobFault may refuse a blob of a batch call, the n-th time it is named.
	blobFault func(d digest.Digest, n int) error
	// cut lists after how many new bytes the first ByteStream calls break.
	cutWrites, cutReads []int64
	// tamper may alter what is served under a digest.
	tamper  func(d digest.Digest, data []byte) []byte
	execute func(n int, send func(*longrunningpb.Operation) error, req *repb.ExecuteRequest) error
	wait    func(n int, send func(*longrunningpb.Operation) error, name string) error

	mu        sync.Mutex
	blobs     map[digest.Digest][]byte
	partial   map[string][]byte // uploads by resource name
	calls     map[string]int
	named     map[digest.Digest]int
	batches   []int // bytes of each BatchUpdateBlobs message
	starts    []int64
	received  int64 // bytes by ByteStream.Write
	cancelled []string
}

const fakeInstance = "main"

// serve starts the fake and returns a client of it.
func serve(t *testing.T, f *fake, o Options) *Client {
	t.Helper()
	f.blobs, f.partial, f.calls, f.named = map[digest.Digest][]byte{}, map[string][]byte{}, map[string]int{}, map[digest.Digest]int{}
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(grpc.WaitForHandlers(true), grpc.UnaryInterceptor(f.unary), grpc.StreamInterceptor(f.stream))
	repb.RegisterCapabilitiesServer(server, f)
	repb.RegisterContentAddressableStorageServer(server, f)
	repb.RegisterActionCacheServer(server, f)
	repb.RegisterExecutionServer(server, f)
	bytestream.RegisterByteStreamServer(server, f)
	longrunningpb.RegisterOperationsServer(server, f)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	o.DialOptions = append(o.DialOptions, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return listener.DialContext(ctx)
	}))
	c, err := Dial("passthrough:///fake", fakeInstance, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		server.Stop()
		<-done
	})
	return c
}

// called counts a call and says whether it fails.
func (f *fake) called(method string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[method]++
	if f.fault == nil {
		return nil
	}
	return f.fault(method, f.calls[method])
}

func (f *fake) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if err := f.called(base(info.FullMethod)); err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

func (f *fake) stream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if err := f.called(base(info.FullMethod)); err != nil {
		return err
	}
	return handler(srv, s)
}

func base(method string) string {
	for i := len(method) - 1; ; i-- {
		if method[i] == '/' {
			return method[i+1:]
		}
	}
}

func (f *fake) count(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[method]
}

// put stores content as if it had been uploaded before.
func (f *fake) put(data []byte) digest.Digest {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := digest.Of(digest.SHA256, data)
	f.blobs[d] = data
	return d
}

func (f *fake) putMessage(t *testing.T, m proto.Message) digest.Digest {
	t.Helper()
	s, err := MessageSource(digest.SHA256, m)
	if err != nil {
		t.Fatal(err)
	}
	return f.put(s.Data)
}

func (f *fake) get(d digest.Digest) ([]byte, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	data, ok := f.blobs[d]
	if d.IsEmpty() {
		ok = true
	}
	if ok && f.tamper != nil {
		data = f.tamper(d, slices.Clone(data))
	}
	return data, ok
}

func (f *fake) GetCapabilities(_ context.Context, req *repb.GetCapabilitiesRequest) (*repb.ServerCapabilities, error) {
	if f.caps == nil {
		return nil, status.Error(codes.Unimplemented, "no such method")
	}
	if req.InstanceName != fakeInstance {
		return nil, status.Errorf(codes.InvalidArgument, "Invalid instance name: [%s]", req.InstanceName)
	}
	return f.caps, nil
}

// capsWith returns capabilities with a limit on batches.
func capsWith(batch int64) *repb.ServerCapabilities {
	return &repb.ServerCapabilities{
		CacheCapabilities: &repb.CacheCapabilities{
			DigestFunctions:        []repb.DigestFunction_Value{repb.DigestFunction_SHA256},
			MaxBatchTotalSizeBytes: batch,
		},
		ExecutionCapabilities: &repb.ExecutionCapabilities{ExecEnabled: true},
	}
}

func wantCode(t *testing.T, err error, code codes.Code) {
	t.Helper()
	if status.Code(err) != code {
		t.Fatalf("have %v, want %s", err, code)
	}
}

var errAway = status.Error(codes.Unavailable, "leader lost")
