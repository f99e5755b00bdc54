package workers

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/test/harness"
)

// TestTheOutputOnAWorkerIsFollowed also over a restart of the server, which has
// forgotten the streams by then.
func TestTheOutputOnAWorkerIsFollowed(t *testing.T) {
	g := newGrid(t)
	g.worker()
	out := g.run("echo begun; echo odd >&2; "+g.slow("a"), nil)
	g.awaitRuns("a", 1)
	g.awaitOutput("begun\n")
	g.restart(func() {})
	name := g.awaitOutput("begun\n")
	var stdout, stderr strings.Builder
	followed := g.client.Output(t.Context(), &stdout, &stderr, nil)
	op, err := g.client.Wait(t.Context(), name, func(op *client.Operation) {
		if op.Metadata.GetStdoutStreamName() != "" {
			g.release("a")
		}
		followed.Watch(op)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := followed.Finish(t.Context(), op); err != nil || stdout.String() != "begun\ndone\n" || stderr.String() != "odd\n" {
		t.Errorf("%q, %q, %v", &stdout, &stderr, err)
	}
	g.succeeded(out)
}

// awaitOutput waits until the only operation has printed so much, and returns its
// name.
func (g *grid) awaitOutput(want string) (name string) {
	g.t.Helper()
	g.await("the output can be read", func() bool {
		found := false
		_ = g.client.ListOperations(g.t.Context(), "", func(op *client.Operation) bool {
			var stdout, stderr bytes.Buffer
			err := g.client.OutputSoFar(g.t.Context(), op, &stdout, &stderr)
			name, found = op.Name, err == nil && stdout.String() == want
			return false
		})
		return found
	})
	return name
}

func TestAnActionOnAWorkerHasASocket(t *testing.T) {
	g := newGrid(t)
	g.worker()
	dir := t.TempDir()
	program, err := os.ReadFile(os.Getenv("TEST_BGRID_NODE"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "tool"), program, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	inputs, err := client.ReadDir(t.Context(), digest.SHA256, dir)
	if err != nil {
		t.Fatal(err)
	}
	job := client.Job{
		Arguments: []string{"./tool", "run", "--server", "unix:s", "--instance", harness.Instance, "--", "echo", "nested"},
		Platform:  map[string][]string{"runner": {"hosttools"}, "remoteApisSocketPath": {"s"}},
	}
	p, err := job.Prepare(digest.SHA256, inputs)
	if err != nil {
		t.Fatal(err)
	}
	op, err := g.client.Run(t.Context(), p, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr strings.Builder
	r := op.Response.GetResult()
	if err := g.client.WriteStdout(t.Context(), r, &stdout); err != nil || stdout.String() != "nested\n" {
		_ = g.client.WriteStderr(t.Context(), r, &stderr)
		t.Errorf("%q, %q, %v, %v", &stdout, &stderr, err, op.Response)
	}
}
