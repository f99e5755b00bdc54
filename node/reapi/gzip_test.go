package reapi

import (
	"bytes"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// grpc-python and others compress the messages of whoever asks for it.
func TestClientsMayCompressTheirMessages(t *testing.T) {
	g := newGrid(t)
	gzip := grpc.UseCompressor("gzip")
	data := bytes.Repeat([]byte("compressible "), 100_000)
	d := digest.Of(digest.SHA256, data)
	up, err := g.cas.BatchUpdateBlobs(t.Context(), &repb.BatchUpdateBlobsRequest{
		InstanceName: "main", Requests: []*repb.BatchUpdateBlobsRequest_Request{{Digest: d.Proto(), Data: data}},
	}, gzip)
	if err != nil || up.Responses[0].GetStatus().GetCode() != 0 {
		t.Fatalf("update: %v, %v", up, err)
	}
	down, err := g.cas.BatchReadBlobs(t.Context(), &repb.BatchReadBlobsRequest{InstanceName: "main", Digests: []*repb.Digest{d.Proto()}}, gzip)
	if err != nil || !bytes.Equal(down.Responses[0].Data, data) {
		t.Errorf("read: %v", err)
	}
	stream, err := g.bytes.Read(t.Context(), &bspb.ReadRequest{ResourceName: "main/blobs/" + d.String()}, gzip)
	if err != nil {
		t.Fatal(err)
	}
	var streamed []byte
	for len(streamed) < len(data) {
		chunk, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		streamed = append(streamed, chunk.Data...)
	}
	if !bytes.Equal(streamed, data) {
		t.Error("the stream has other bytes")
	}
	bomb := &repb.BatchUpdateBlobsRequest{Requests: []*repb.BatchUpdateBlobsRequest_Request{{Data: make([]byte, 100<<20)}}}
	if _, err := g.cas.BatchUpdateBlobs(t.Context(), bomb, gzip); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("100 MiB in a small message: %v", err)
	}
}
