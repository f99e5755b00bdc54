package workers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/test/harness"
)

// grid is a server without workers of its own, with a client.
type grid struct {
	t      *testing.T
	server *harness.Node
	client *client.Client
	dir    string // for what actions leave outside of their input roots
}

func newGrid(t *testing.T, args ...string) *grid {
	t.Helper()
	server := harness.Start(t, append([]string{"--slots", "0"}, args...)...)
	return &grid{t: t, server: server, client: server.Dial(t), dir: t.TempDir()}
}

// worker starts one with a directory of its own.
func (g *grid) worker(args ...string) *harness.Worker {
	g.t.Helper()
	return g.workerOf([]string{g.server.GRPC}, args...)
}

func (g *grid) workerOf(servers []string, args ...string) *harness.Worker {
	g.t.Helper()
	w, err := harness.LaunchWorker(harness.WorkerOptions{
		Binary: os.Getenv("TEST_BGRID_NODE"), Dir: g.t.TempDir(), Servers: servers, Args: append([]string{"--slots", "2"}, args...),
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return g.keep(w)
}

// keep ends the worker with the test.
func (g *grid) keep(w *harness.Worker) *harness.Worker {
	g.t.Cleanup(func() {
		select {
		case <-w.Exited():
		default:
			w.Kill()
		}
		if g.t.Failed() {
			g.t.Logf("log of a worker:\n%s", w.Log())
		}
	})
	return w
}

// restart kills the server, does what is to be done while it is down, and starts
// it again.
func (g *grid) restart(meanwhile func()) {
	g.t.Helper()
	g.server.Kill()
	meanwhile()
	again, err := g.server.Again(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	g.server = again
	g.t.Cleanup(func() {
		select {
		case <-again.Exited():
		default:
			if err := again.Stop(); err != nil {
				g.t.Error(err)
			}
		}
		if g.t.Failed() {
			g.t.Logf("log of the restarted server:\n%s", again.Log())
		}
	})
}

type outcome struct {
	op  *client.Operation
	err error
}

// run executes a shell script in an input root, in the background.
func (g *grid) run(script string, inputs *client.Tree, outputs ...string) <-chan outcome {
	g.t.Helper()
	if inputs == nil {
		var err error
		if inputs, err = client.NewTreeBuilder(digest.SHA256).Build(g.t.Context()); err != nil {
			g.t.Fatal(err)
		}
	}
	job := client.Job{
		Arguments: []string{"/bin/sh", "-c", script}, Outputs: outputs, NoCache: true,
		Env: map[string]string{"PATH": "/usr/bin:/bin"}, Platform: map[string][]string{"runner": {"hosttools"}},
	}
	p, err := job.Prepare(digest.SHA256, inputs)
	if err != nil {
		g.t.Fatal(err)
	}
	out := make(chan outcome, 1)
	go func() {
		ctx, cancel := context.WithTimeout(g.t.Context(), 2*time.Minute)
		defer cancel()
		op, err := g.client.Run(ctx, p, nil, nil)
		out <- outcome{op, err}
	}()
	return out
}

// slow is a script that tells on the file of that name that it runs, and ends once
// release was called.
func (g *grid) slow(name string) string {
	file := filepath.Join(g.dir, name)
	return fmt.Sprintf("echo run >> %s; while [ ! -e %s.go ]; do sleep 0.02; done; echo done", file, file)
}

func (g *grid) release(name string) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, name+".go"), nil, 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// runs counts how often the script of that name was started.
func (g *grid) runs(name string) int {
	data, _ := os.ReadFile(filepath.Join(g.dir, name))
	return strings.Count(string(data), "run\n")
}

// await waits for something that happens in another process.
func (g *grid) await(what string, happened func() bool) {
	g.t.Helper()
	for deadline := time.Now().Add(time.Minute); !happened(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Fatalf("within a minute it does not happen that %s", what)
		}
	}
}

func (g *grid) awaitRuns(name string, n int) {
	g.t.Helper()
	g.await(fmt.Sprintf("%s was started %d times", name, n), func() bool { return g.runs(name) >= n })
}

// succeeded waits for an action's end.
func (g *grid) succeeded(out <-chan outcome) *client.Operation {
	g.t.Helper()
	o := <-out
	if o.err != nil {
		g.t.Fatal(o.err)
	}
	if err := o.op.Outcome(); err != nil || o.op.Response.GetResult().GetExitCode() != 0 {
		g.t.Fatalf("%v, exit code %d", err, o.op.Response.GetResult().GetExitCode())
	}
	return o.op
}
