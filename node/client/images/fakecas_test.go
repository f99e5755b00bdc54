package images

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// fakeCAS keeps verified blobs in memory, and counts those that it was sent.
type fakeCAS struct {
	repb.UnimplementedContentAddressableStorageServer
	bytestream.UnimplementedByteStreamServer
	repb.UnimplementedCapabilitiesServer

	mu     sync.Mutex
	blobs  map[digest.Digest][]byte
	writes int
	fault  error // of every upload
}

// newCAS returns a server and a client of it.
func newCAS(t testing.TB) (*fakeCAS, *client.Client) {
	t.Helper()
	f := &fakeCAS{blobs: map[digest.Digest][]byte{}}
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	repb.RegisterContentAddressableStorageServer(server, f)
	repb.RegisterCapabilitiesServer(server, f)
	bytestream.RegisterByteStreamServer(server, f)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	c, err := client.Dial("passthrough:///fake", "", client.Options{Patience: -1, DialOptions: []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
	}})
	must(t, err)
	t.Cleanup(func() {
		_ = c.Close()
		server.Stop()
		<-done
	})
	return f, c
}

func (f *fakeCAS) FindMissingBlobs(_ context.Context, req *repb.FindMissingBlobsRequest) (*repb.FindMissingBlobsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	reply := &repb.FindMissingBlobsResponse{}
	for _, p := range req.BlobDigests {
		d, err := digest.FromProto(digest.SHA256, p)
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		if _, ok := f.blobs[d]; !ok {
			reply.MissingBlobDigests = append(reply.MissingBlobDigests, p)
		}
	}
	return reply, nil
}

func (f *fakeCAS) BatchUpdateBlobs(_ context.Context, req *repb.BatchUpdateBlobsRequest) (*repb.BatchUpdateBlobsResponse, error) {
	reply := &repb.BatchUpdateBlobsResponse{}
	for _, r := range req.Requests {
		d, err := digest.FromProto(digest.SHA256, r.Digest)
		if err == nil {
			err = f.put(d, r.Data)
		}
		reply.Responses = append(reply.Responses, &repb.BatchUpdateBlobsResponse_Response{Digest: r.Digest, Status: status.Convert(err).Proto()})
	}
	return reply, nil
}

func (f *fakeCAS) Write(stream bytestream.ByteStream_WriteServer) error {
	var name string
	var data []byte
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if req.ResourceName != "" {
			name = req.ResourceName
		}
		data = append(data, req.Data...)
	}
	r, err := digest.ParseUpload(name)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	if err := f.put(r.Digest, data); err != nil {
		return err
	}
	return stream.SendAndClose(&bytestream.WriteResponse{CommittedSize: int64(len(data))})
}

func (f *fakeCAS) put(d digest.Digest, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fault != nil {
		return f.fault
	}
	if digest.Of(digest.SHA256, data) != d {
		return status.Error(codes.InvalidArgument, "Data does not match hash")
	}
	f.blobs[d] = data
	f.writes++
	return nil
}
