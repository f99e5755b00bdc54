package reapi

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/uuid"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// peerOf serves a store as to the other nodes of a cluster.
func peerOf(t testing.TB, store *cas.Store) *grpc.ClientConn {
	t.Helper()
	s := grpc.NewServer(ServerOptions()...)
	if err := RegisterBlobs(s, BlobsOptions{Store: store, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	l := bufconn.Listen(1 << 20)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	conn, err := grpc.NewClient("passthrough:///peer", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// The room that is kept for the outputs of actions is found by peers that say so,
// in batches and streams, and by no client.
func TestOnlyPeersStoreOutputs(t *testing.T) {
	g := newSizedGrid(t, 64<<20)
	peer := peerOf(t, g.local)
	asOutput := metadata.AppendToOutgoingContext(t.Context(), PeerClassHeader, PeerClassOutput)
	data, seed := noise(1<<20, 1), uint64(0)
	batch := func(ctx context.Context, conn *grpc.ClientConn, instance string) codes.Code {
		seed++
		binary.BigEndian.PutUint64(data, seed)
		reply, err := repb.NewContentAddressableStorageClient(conn).BatchUpdateBlobs(ctx, &repb.BatchUpdateBlobsRequest{InstanceName: instance,
			Requests: []*repb.BatchUpdateBlobsRequest_Request{{Digest: digest.Of(digest.SHA256, data).Proto(), Data: data}}})
		if err != nil {
			t.Fatal(err)
		}
		return codes.Code(reply.GetResponses()[0].GetStatus().GetCode())
	}
	for i := 0; batch(t.Context(), peer, "") == codes.OK; i++ {
		if i == 100 {
			t.Fatal("the store never fills")
		}
	}
	if code := batch(asOutput, g.conn, "main"); code != codes.ResourceExhausted {
		t.Errorf("a client that claims to store an output: %v", code)
	}
	if code := batch(asOutput, peer, ""); code != codes.OK {
		t.Errorf("an output in a batch: %v", code)
	}
	seed++
	binary.BigEndian.PutUint64(data, seed)
	streamed := data[:512<<10]
	d := digest.Of(digest.SHA256, streamed)
	write := func(ctx context.Context) error {
		_, err := writeAll(ctx, bspb.NewByteStreamClient(peer), true, parts(digest.UploadName("", uuid.NewString(), d), streamed, 0, 100_000)...)
		return err
	}
	if err := write(t.Context()); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("an upload as a stream: %v", err)
	}
	if err := write(asOutput); err != nil {
		t.Errorf("an output as a stream: %v", err)
	}
}
