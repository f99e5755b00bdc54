package reapi

import (
	"errors"
	"testing"

	logpb "github.com/bazelbuild/remote-apis/build/bazel/remote/logstream/v1"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/node/logstream"
)

// TestALogStreamOfAnotherNodeIsReadAndWrittenThroughThisOne has two servers, of
// which the second knows where the streams of the first are.
func TestALogStreamOfAnotherNodeIsReadAndWrittenThroughThisOne(t *testing.T) {
	hub := logstream.New(logstream.Options{Dir: t.TempDir(), Node: "far"})
	defer hub.Close()
	far := newGrid(t, func(o *Options) { o.Streams = hub })
	away := errors.New("nobody knows that node")
	near := newGrid(t, func(o *Options) {
		o.Elsewhere = func(node string) (grpc.ClientConnInterface, error) {
			switch node {
			case "":
				return nil, nil
			case "far":
				return far.conn, nil
			}
			return nil, status.Error(codes.NotFound, away.Error())
		}
	})
	made, err := logpb.NewLogStreamServiceClient(far.conn).CreateLogStream(t.Context(), &logpb.CreateLogStreamRequest{Parent: "main"})
	if err != nil {
		t.Fatal(err)
	}
	w, err := near.bytes.Write(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	read := near.tail(t, made.GetName(), 0, 0)
	send := func(text string, at int64, finish bool) {
		t.Helper()
		if err := w.Send(&bspb.WriteRequest{ResourceName: made.GetWriteResourceName(), WriteOffset: at, FinishWrite: finish, Data: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	send("one\n", 0, false)
	read.reads("one\n")
	if s, err := near.bytes.QueryWriteStatus(t.Context(), &bspb.QueryWriteStatusRequest{ResourceName: made.GetName()}); err != nil || s.GetCommittedSize() != 4 || s.GetComplete() {
		t.Errorf("status: %v, %v", s, err)
	}
	send("two\n", 4, true)
	if reply, err := w.CloseAndRecv(); err != nil || reply.GetCommittedSize() != 8 {
		t.Errorf("written: %v, %v", reply, err)
	}
	read.reads("two\n")
	read.ends(codes.OK)
	near.tail(t, "main/logstreams/gone~0", 0, 0).ends(codes.NotFound)
}
