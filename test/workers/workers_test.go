package workers

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

func TestAnActionOutlivesItsServer(t *testing.T) {
	for _, c := range []struct {
		rule      string
		whileDown bool // the action ends while there is no server
	}{{"and ends with the next", false}, {"and its result waits for the next", true}} {
		t.Run(c.rule, func(t *testing.T) {
			g := newGrid(t)
			w := g.worker()
			out := g.run(g.slow("a"), nil)
			g.awaitRuns("a", 1)
			g.restart(func() {
				if c.whileDown {
					g.release("a")
					g.await("the worker misses the server", func() bool { return strings.Contains(w.Log(), "what runs goes on") })
				}
			})
			g.release("a")
			op := g.succeeded(out)
			var stdout bytes.Buffer
			if err := g.client.WriteStdout(t.Context(), op.Response.GetResult(), &stdout); err != nil || stdout.String() != "done\n" {
				t.Errorf("stdout %q, %v", &stdout, err)
			}
			if n := g.runs("a"); n != 1 {
				t.Errorf("it ran %d times", n)
			}
		})
	}
}

func TestTheActionsOfAKilledWorkerRunAgain(t *testing.T) {
	g := newGrid(t, "--worker-expiry", "2s")
	for _, c := range []struct {
		rule  string
		again bool
	}{{"at once, when it comes back", true}, {"after its expiry, on another", false}} {
		t.Run(c.rule, func(t *testing.T) {
			g, name := &grid{t: t, server: g.server, client: g.client, dir: g.dir}, fmt.Sprint("a", c.again)
			w := g.worker()
			out := g.run(g.slow(name), nil)
			g.awaitRuns(name, 1)
			w.Kill()
			if c.again {
				again, err := w.Again()
				if err != nil {
					t.Fatal(err)
				}
				g.keep(again)
			} else {
				g.worker()
			}
			g.awaitRuns(name, 2)
			g.release(name)
			g.succeeded(out)
		})
	}
}

func TestAWorkerThatIsTerminatedFinishesAndLeaves(t *testing.T) {
	g := newGrid(t)
	w := g.worker()
	out := g.run(g.slow("a"), nil)
	g.awaitRuns("a", 1)
	if err := syscall.Kill(w.Pid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	g.await("the worker drains", func() bool { return strings.Contains(w.Log(), "running actions may finish") })
	next := g.run(g.slow("b"), nil)
	g.release("a")
	g.succeeded(out)
	<-w.Exited()
	if err := w.Stop(); err != nil { // its exit code
		t.Error(err)
	}
	if g.runs("b") != 0 {
		t.Error("it took another action")
	}
	g.worker()
	g.release("b")
	g.succeeded(next)
	if a, b := g.runs("a"), g.runs("b"); a != 1 || b != 1 {
		t.Errorf("they ran %d and %d times", a, b)
	}
}

func TestAWorkerThatCannotFinishInTimeGivesItsActionsBack(t *testing.T) {
	g := newGrid(t)
	w := g.worker("--drain-timeout", "100ms")
	out := g.run(g.slow("a"), nil)
	g.awaitRuns("a", 1)
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
	g.worker()
	g.awaitRuns("a", 2) // long before any expiry
	g.release("a")
	g.succeeded(out)
}

func TestACancelledActionIsKilledOnItsWorker(t *testing.T) {
	g := newGrid(t)
	w := g.worker("--slots", "1")
	out := g.run(g.slow("a"), nil)
	g.awaitRuns("a", 1)
	err := g.client.ListOperations(t.Context(), "", func(op *client.Operation) bool {
		if err := g.client.Cancel(t.Context(), op.Name); err != nil {
			t.Error(err)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	<-out
	g.succeeded(g.run("true", nil)) // its slot is free, though a was never released
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
}

func TestInputsAndOutputsOfAllSizesGoThrough(t *testing.T) {
	g := newGrid(t)
	g.worker()
	in := t.TempDir()
	random := rand.NewChaCha8([32]byte{1})
	for i := range 300 {
		small := make([]byte, i)
		_, _ = random.Read(small)
		if err := os.WriteFile(filepath.Join(in, fmt.Sprint(i)), small, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	large := make([]byte, 9<<20)
	_, _ = random.Read(large)
	if err := os.WriteFile(filepath.Join(in, "large"), large, 0o600); err != nil {
		t.Fatal(err)
	}
	tree, err := client.ReadDir(t.Context(), digest.SHA256, in)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time from the worker's own cache
		op := g.succeeded(g.run("mkdir out && cp -r [0-9]* large out/", tree, "out"))
		dirs := op.Response.GetResult().GetOutputDirectories()
		if len(dirs) != 1 {
			t.Fatalf("output directories %v", dirs)
		}
		want, err := digest.FromProto(digest.SHA256, dirs[0].GetRootDirectoryDigest())
		if err == nil && dirs[0].GetRootDirectoryDigest() != nil && want != tree.Root {
			t.Errorf("the copy is %s, want %s", want, tree.Root)
		}
		to := t.TempDir()
		if _, err := g.client.DownloadOutputs(t.Context(), op.Response.GetResult(), to, "", []string{"out"}, nil); err != nil {
			t.Fatal(err)
		}
		have, err := os.ReadFile(filepath.Join(to, "out", "large"))
		if err != nil || !bytes.Equal(have, large) {
			t.Errorf("the large file came back with %d bytes, %v", len(have), err)
		}
	}
}

func TestTheFirstServerThatAnswersIsUsed(t *testing.T) {
	g := newGrid(t)
	w := g.workerOf([]string{"127.0.0.1:1", g.server.GRPC})
	g.succeeded(g.run("true", nil))
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
}

func TestADrainedWorkerGetsNothingUntilItIsUndrained(t *testing.T) {
	g := newGrid(t)
	g.worker()
	g.succeeded(g.run("true", nil))
	command := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(os.Getenv("TEST_BGRID_NODE"), append(args, "--http", g.server.HTTP)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v: %s", args, err, out)
		}
		return string(out)
	}
	name := strings.Fields(strings.Split(command("worker", "list"), "\n")[1])[0]
	command("worker", "drain", name)
	if list := command("worker", "list"); !strings.Contains(list, "takes no work: it was drained") {
		t.Error(list)
	}
	out := g.run(g.slow("a"), nil)
	g.release("a")
	g.await("it says why it waits", func() (waits bool) {
		err := g.client.ListOperations(t.Context(), "", func(op *client.Operation) bool {
			waits = op.WaitReason() == "worker "+name+" takes no work: it is drained"
			return true
		})
		return err == nil && waits
	})
	if g.runs("a") != 0 {
		t.Error("a drained worker took an action")
	}
	command("worker", "undrain", name)
	g.succeeded(out)
}
