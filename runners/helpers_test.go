package runners_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/hosttools"
	"github.com/bgrid-node/bgrid-node/runners/shim"
	"github.com/bgrid-node/bgrid-node/runners/userchroot"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

func TestMain(m *testing.M) {
	userchroot.MaybeRun()
	shim.MaybeRun()
	os.Exit(m.Run())
}

// bench is a worker with real files and processes, blobs in memory, and a session
// that the test plays.
type bench struct {
	t       testing.TB
	blobs   *memory
	session *session
	dir     string
	options runners.WorkerOptions
	stopped chan struct{} // Run has returned, with err
	err     error
	kill    context.CancelFunc
	ids     atomic.Int64
}

// start starts a worker; change, when not nil, may change its options.
func start(t testing.TB, change func(*runners.WorkerOptions)) *bench {
	t.Helper()
	b := &bench{t: t, blobs: newMemory(), session: newSession(), dir: t.TempDir(), stopped: make(chan struct{})}
	runner, err := hosttools.New(hosttools.Options{Dir: b.dir})
	if err != nil {
		t.Fatal(err)
	}
	b.options = runners.WorkerOptions{
		Leases: b.session, Blobs: b.blobs, Runners: []runners.Runner{runner}, Dir: b.dir, CacheBytes: 64 << 20,
		Slots: 2, Name: "worker-1", Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if change != nil {
		change(&b.options)
	}
	w, err := runners.NewWorker(b.options)
	if err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, b.kill = context.WithCancel(context.Background())
	go func() {
		defer close(b.stopped)
		b.err = w.Run(ctx)
	}()
	t.Cleanup(func() {
		b.kill()
		<-b.stopped
		if err := runner.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) message(m proto.Message) digest.Digest {
	b.t.Helper()
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.blobs.put(data)
}

// lease makes a lease of a command in an input root.
func (b *bench) lease(cmd *repb.Command, root digest.Digest) *runners.Lease {
	b.t.Helper()
	action := b.message(&repb.Action{CommandDigest: b.message(cmd).Proto(), InputRootDigest: root.Proto()})
	return &runners.Lease{
		ID: fmt.Sprintf("job-%d", b.ids.Add(1)), Attempt: 1, Instance: "main", Action: action,
		Properties: []runners.Property{{Name: "OSFamily", Value: "linux"}}, Queued: time.Now(),
	}
}

func (b *bench) assign(l *runners.Lease) {
	b.t.Helper()
	select {
	case b.session.events <- runners.Event{Assigned: l}:
	case <-b.stopped:
		b.t.Fatal("the worker has stopped")
	}
}

// run executes a lease to its completion.
func (b *bench) run(l *runners.Lease) runners.Completion {
	b.t.Helper()
	b.assign(l)
	return b.completion()
}

func (b *bench) completion() runners.Completion {
	b.t.Helper()
	select {
	case c := <-b.session.done:
		return c
	case <-b.stopped:
		b.t.Fatal("the worker has stopped")
	}
	panic("unreachable")
}

// result executes a command that must run, and returns what came of it.
func (b *bench) result(cmd *repb.Command, root digest.Digest) *repb.ActionResult {
	b.t.Helper()
	c := b.run(b.lease(cmd, root))
	if c.Status.GetCode() != 0 {
		b.t.Fatalf("status %d: %s", c.Status.Code, c.Status.Message)
	}
	return c.Result
}

// text returns a blob of a result.
func (b *bench) text(d *repb.Digest) string {
	b.t.Helper()
	parsed, err := digest.FromProto(digest.SHA256, d)
	if err != nil {
		b.t.Fatal(err)
	}
	data, ok := b.blobs.get(parsed)
	if !ok {
		b.t.Fatalf("the result names %s, which was not stored", parsed)
	}
	return string(data)
}

// file makes a file node.
func (b *bench) file(name, content string) *repb.FileNode {
	return &repb.FileNode{Name: name, Digest: b.blobs.put([]byte(content)).Proto()}
}

var noInputs = digest.SHA256.Empty()

// sh is a command for the shell.
func sh(script string, outputs ...string) *repb.Command {
	return &repb.Command{
		Arguments:            []string{"/bin/sh", "-c", script},
		EnvironmentVariables: []*repb.Command_EnvironmentVariable{{Name: "PATH", Value: "/usr/bin:/bin"}},
		OutputPaths:          outputs,
	}
}

// parse reads a message that a result names.
func (b *bench) parse(d *repb.Digest, m proto.Message) {
	b.t.Helper()
	if err := proto.Unmarshal([]byte(b.text(d)), m); err != nil {
		b.t.Fatal(err)
	}
}
