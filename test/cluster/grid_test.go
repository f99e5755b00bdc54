package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/test/cluster/netns"
	"github.com/bgrid-node/bgrid-node/test/harness"
)

// testGrid is a grid of a test, which ends it.
type testGrid struct {
	*Grid
	t   *testing.T
	dir string
}

func startGrid(t *testing.T, o Options) *testGrid {
	t.Helper()
	if err := netns.Available(); err != nil {
		t.Skip(err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dir := t.TempDir()
	o.Binary, o.Dir = os.Getenv("TEST_BGRID_NODE"), filepath.Join(dir, "grid")
	o.Random = rand.New(rand.NewPCG(seed, 0))
	o.Say = func(format string, args ...any) { t.Logf(time.Now().Format("15:04:05.000 ")+format, args...) }
	g, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(g.Logs())
			for _, w := range g.Workers {
				t.Logf("log of a worker:\n%s", w.Log())
			}
		}
		g.Close()
	})
	return &testGrid{g, t, dir}
}

// client returns one of the member's.
func (g *testGrid) client(i int) *client.Client {
	g.t.Helper()
	c, err := client.Dial("passthrough:///"+g.Servers()[i], harness.Instance, client.Options{Tool: "cluster-test", DialOptions: dialOptions()})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = c.Close() })
	return c
}

// leads returns the index of the leader and those of the others.
func (g *testGrid) leads() (leader int, others []int) {
	g.t.Helper()
	leader, err := g.leader(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	for i := range g.Members {
		if i != leader {
			others = append(others, i)
		}
	}
	return leader, others
}

// lose kills a member and takes its disk away.
func (g *testGrid) lose(i int) {
	g.t.Helper()
	g.say("%s is lost, and its disk", g.Members[i].ID)
	g.Members[i].Kill()
	if err := g.Members[i].Wipe(); err != nil {
		g.t.Fatal(err)
	}
}

// again starts a member, which may have nothing on its disk.
func (g *testGrid) again(i int) {
	g.t.Helper()
	if err := g.Members[i].Again(g.t.Context()); err != nil {
		g.t.Fatal(err)
	}
	g.say("%s is back", g.Members[i].ID)
	// Ready means a full member: the next one may be lost now.
	s, err := g.StatusOf(g.t.Context(), g.Members[i])
	if err != nil {
		g.t.Fatal(err)
	}
	for _, m := range s.Members {
		if m.ID == g.Members[i].ID && m.Voter {
			return
		}
	}
	g.t.Errorf("%s is ready and has no vote: %+v", g.Members[i].ID, s.Members)
}

// slow begins an action through a member, and returns its operation once it has
// one. The action leaves a line, and ends once release was called.
func (g *testGrid) slow(i int, name string) string {
	g.t.Helper()
	inputs, err := client.NewTreeBuilder(digest.SHA256).Build(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	file := filepath.Join(g.dir, name)
	p, err := client.Job{
		Arguments: []string{"/bin/sh", "-c", fmt.Sprintf("echo run >> %s; while [ ! -e %s.go ]; do sleep 0.02; done; echo %s", file, file, name)},
		Env:       map[string]string{"PATH": "/usr/bin:/bin"}, Platform: map[string][]string{"runner": {"hosttools"}},
	}.Prepare(digest.SHA256, inputs)
	if err != nil {
		g.t.Fatal(err)
	}
	c, operation := g.client(i), make(chan string, 1)
	go func() {
		_, err := c.Run(g.t.Context(), p, func(op *client.Operation) {
			select {
			case operation <- op.Name:
			default:
			}
		}, nil)
		if err != nil && g.t.Context().Err() == nil {
			g.t.Errorf("the client that executes %s: %v", name, err)
		}
	}()
	select {
	case op := <-operation:
		return op
	case <-time.After(time.Minute):
		g.t.Fatalf("no answer to the Execute of %s", name)
		return ""
	}
}

func (g *testGrid) release(name string) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, name+".go"), nil, 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// runs counts how often the action was started.
func (g *testGrid) runs(name string) int {
	data, _ := os.ReadFile(filepath.Join(g.dir, name))
	return strings.Count(string(data), "run\n")
}

func (g *testGrid) awaitRun(name string) {
	g.t.Helper()
	for deadline := time.Now().Add(time.Minute); g.runs(name) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Fatalf("%s does not start", name)
		}
	}
}

// done waits for an operation through a member, and checks what it came to.
func (g *testGrid) done(i int, operation, name string) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), time.Minute)
	defer cancel()
	c := g.client(i)
	op, err := c.Wait(ctx, operation, nil)
	if err != nil {
		g.t.Fatalf("wait for %s through %s: %v", name, g.Members[i].ID, err)
	}
	if err := op.Outcome(); err != nil {
		g.t.Fatalf("%s through %s: %v", name, g.Members[i].ID, err)
	}
	var out strings.Builder
	if err := c.WriteStdout(ctx, op.Response.GetResult(), &out); err != nil || out.String() != name+"\n" {
		g.t.Errorf("%s through %s: it printed %q, %v", name, g.Members[i].ID, out.String(), err)
	}
	got, err := c.Operation(ctx, operation)
	if err != nil || !got.Done {
		g.t.Errorf("%s through %s: Operations does not say that it is done: %v", name, g.Members[i].ID, err)
	}
}
