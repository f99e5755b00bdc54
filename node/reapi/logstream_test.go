package reapi

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	logpb "github.com/bazelbuild/remote-apis/build/bazel/remote/logstream/v1"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// tail reads one stream as a client does.
type tail struct {
	t      *testing.T
	stream bspb.ByteStream_ReadClient
}

func (g *grid) tail(t *testing.T, name string, offset, limit int64) tail {
	t.Helper()
	stream, err := g.bytes.Read(t.Context(), &bspb.ReadRequest{ResourceName: name, ReadOffset: offset, ReadLimit: limit})
	if err != nil {
		t.Fatal(err)
	}
	return tail{t, stream}
}

// reads waits until so much has come.
func (l tail) reads(want string) {
	l.t.Helper()
	got := ""
	for len(got) < len(want) {
		m, err := l.stream.Recv()
		if err != nil {
			l.t.Fatalf("after %q: %v", got, err)
		}
		got += string(m.GetData())
	}
	if got != want {
		l.t.Fatalf("read %q, want %q", got, want)
	}
}

func (l tail) ends(want codes.Code) {
	l.t.Helper()
	m, err := l.stream.Recv()
	if err == io.EOF {
		err = nil
	} else if err == nil {
		l.t.Fatalf("more: %q", m.GetData())
	}
	if status.Code(err) != want {
		l.t.Fatalf("ended with %v, want %v", err, want)
	}
}

func TestTheOutputOfARunningActionIsRead(t *testing.T) {
	g := newGrid(t)
	session, err := g.scheduler.OpenSession(t.Context(), sched.Bot{Instance: "main", BotID: "bot", Capacity: 1,
		Properties: []queue.Property{{Name: "runner", Value: "hosttools"}}})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := g.execution.Execute(t.Context(), &repb.ExecuteRequest{InstanceName: "main", ActionDigest: g.action(t, "a.c", &repb.Directory{}).Proto()})
	if err != nil {
		t.Fatal(err)
	}
	e, err := session.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	ours, err := os.Open(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	followed, err := g.streams.Follow("main", ours)
	if err != nil {
		t.Fatal(err)
	}
	if !session.Streams(e.Assigned.Job.ID, e.Assigned.Attempt, followed.Name(), "") || session.Streams(e.Assigned.Job.ID, e.Assigned.Attempt+1, "x", "y") {
		t.Error("only the present attempt has streams")
	}
	name := ""
	for name == "" {
		op, err := stream.Recv()
		if err != nil || op.GetDone() {
			t.Fatalf("%v, %v", op, err)
		}
		m := metadataIn(t, op)
		if name = m.GetStdoutStreamName(); name != "" && m.GetStage() != repb.ExecutionStage_EXECUTING {
			t.Errorf("named while %v", m.GetStage())
		}
	}
	write(t, file, "one\n")
	all, rest, part := g.tail(t, name, 0, 0), g.tail(t, name, 2, 0), g.tail(t, name, 1, 2)
	all.reads("one\n")
	rest.reads("e\n")
	part.reads("ne")
	part.ends(codes.OK)
	write(t, file, "two\n")
	all.reads("two\n")
	if s, err := g.bytes.QueryWriteStatus(t.Context(), &bspb.QueryWriteStatusRequest{ResourceName: name}); err != nil || s.GetCommittedSize() != 8 || s.GetComplete() {
		t.Errorf("status: %v, %v", s, err)
	}
	blob := []byte("one\ntwo\nnote\n")
	followed.End(g.put(t, blob)[0])
	all.reads("note\n")
	all.ends(codes.OK)
	rest.reads("two\nnote\n")
	rest.ends(codes.OK)
	late := g.tail(t, name, 4, 0) // after its end
	late.reads("two\nnote\n")
	late.ends(codes.OK)
	g.tail(t, name, 14, 0).ends(codes.OutOfRange)
	if err := session.Complete(t.Context(), sched.Completion{JobID: e.Assigned.Job.ID, Attempt: e.Assigned.Attempt, Result: &repb.ActionResult{}}); err != nil {
		t.Fatal(err)
	}
	ops, err := drain(stream)
	if err != nil || !ops[len(ops)-1].GetDone() || metadataIn(t, ops[len(ops)-1]).GetStdoutStreamName() != "" {
		t.Errorf("the end: %v, %v", ops, err)
	}
}

func write(t *testing.T, f *os.File, text string) {
	t.Helper()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestAStreamIsCreatedWrittenAndRead(t *testing.T) {
	g := newGrid(t)
	logs := logpb.NewLogStreamServiceClient(g.conn)
	created, err := logs.CreateLogStream(t.Context(), &logpb.CreateLogStreamRequest{Parent: "main/job"})
	if err != nil {
		t.Fatal(err)
	}
	reader := g.tail(t, created.GetName(), 0, 0)
	w, err := g.bytes.Write(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	send := func(w bspb.ByteStream_WriteClient, name string, offset int64, data string, finish bool) {
		t.Helper()
		if err := w.Send(&bspb.WriteRequest{ResourceName: name, WriteOffset: offset, Data: []byte(data), FinishWrite: finish}); err != nil {
			t.Fatal(err)
		}
	}
	send(w, created.GetWriteResourceName(), 0, "abc", false)
	reader.reads("abc") // before the call ends
	send(w, "", 3, "def", false)
	reader.reads("def")
	if reply, err := w.CloseAndRecv(); err != nil || reply.GetCommittedSize() != 6 {
		t.Fatalf("%v, %v", reply, err)
	}
	s, err := g.bytes.QueryWriteStatus(t.Context(), &bspb.QueryWriteStatusRequest{ResourceName: created.GetWriteResourceName()})
	if err != nil || s.GetCommittedSize() != 6 || s.GetComplete() {
		t.Errorf("status: %v, %v", s, err)
	}
	for _, c := range []struct {
		what, name string
		offset     int64
		data       string
		want       codes.Code
	}{
		{"by the read name", created.GetName(), 6, "x", codes.InvalidArgument},
		{"at a wrong offset", created.GetWriteResourceName(), 5, "x", codes.InvalidArgument},
		{"by a wrong token", created.GetName() + "/guess", 6, "x", codes.NotFound},
		{"of another instance", "other/logstreams/a/b", 0, "x", codes.InvalidArgument},
		{"too much", created.GetWriteResourceName(), 6, strings.Repeat("x", 1<<20), codes.ResourceExhausted},
		{"to its end", created.GetWriteResourceName(), 6, "ghi", codes.OK},
		{"after its end", created.GetWriteResourceName(), 9, "x", codes.FailedPrecondition},
	} {
		w, err := g.bytes.Write(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		send(w, c.name, c.offset, c.data, true)
		if _, err := w.CloseAndRecv(); status.Code(err) != c.want {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
	}
	reader.reads("ghi")
	reader.ends(codes.OK)
	g.tail(t, created.GetWriteResourceName(), 0, 0).ends(codes.InvalidArgument)
	g.tail(t, "main/logstreams/unknown", 0, 0).ends(codes.NotFound)
	g.tail(t, "main/logstreams/", 0, 0).ends(codes.InvalidArgument)
	g.tail(t, created.GetName(), -1, 0).ends(codes.OutOfRange)
	g.tail(t, created.GetName(), 0, -1).ends(codes.InvalidArgument)
	for _, parent := range []string{"", "other", "mainly", "main/blobs", "main//x"} {
		if _, err := logs.CreateLogStream(t.Context(), &logpb.CreateLogStreamRequest{Parent: parent}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("parent %q: %v", parent, err)
		}
	}
}

func TestTheEmptyInstanceHasStreamsToo(t *testing.T) {
	g := newGrid(t, func(o *Options) { o.EmptyInstance = true })
	created, err := logpb.NewLogStreamServiceClient(g.conn).CreateLogStream(t.Context(), &logpb.CreateLogStreamRequest{})
	if err != nil || !strings.HasPrefix(created.GetName(), "main/logstreams/") {
		t.Fatalf("%v, %v", created, err)
	}
	if _, err := g.bytes.QueryWriteStatus(t.Context(), &bspb.QueryWriteStatusRequest{ResourceName: strings.TrimPrefix(created.GetName(), "main/")}); err != nil {
		t.Error(err)
	}
}

func TestWhoWaitsForMoreIsSentAwayWhenTheServerStops(t *testing.T) {
	closing, stop := context.WithCancel(context.Background())
	g := newGrid(t, func(o *Options) { o.Closing = closing })
	created, err := logpb.NewLogStreamServiceClient(g.conn).CreateLogStream(t.Context(), &logpb.CreateLogStreamRequest{Parent: "main"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.streams.Append(created.GetWriteResourceName(), 0, [][]byte{[]byte("x")}, false); err != nil {
		t.Fatal(err)
	}
	l := g.tail(t, created.GetName(), 0, 0)
	l.reads("x")
	stop()
	l.ends(codes.Unavailable)
}

func TestWithoutStreamsThereIsNoService(t *testing.T) {
	g := newGrid(t, func(o *Options) { o.Streams = nil })
	_, err := logpb.NewLogStreamServiceClient(g.conn).CreateLogStream(t.Context(), &logpb.CreateLogStreamRequest{Parent: "main"})
	if status.Code(err) != codes.Unimplemented {
		t.Error(err)
	}
	g.tail(t, "main/logstreams/a", 0, 0).ends(codes.InvalidArgument)
}
