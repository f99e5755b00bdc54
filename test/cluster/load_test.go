package cluster

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bgrid-node/bgrid-node/test/harness"
)

// TestTheJudgeIsContentWithOneNode checks the checkers: a single node that is
// killed and starts again gives no cause for complaint.
func TestTheJudgeIsContentWithOneNode(t *testing.T) {
	node := harness.Start(t, "--slots", "0", "--cas-max-size", "1GiB")
	w, err := harness.LaunchWorker(harness.WorkerOptions{
		Binary: os.Getenv("TEST_BGRID_NODE"), Dir: t.TempDir(), Servers: []string{node.GRPC}, Args: []string{"--slots", "4"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Kill)
	l := startLoad(t, node.GRPC, node.GRPC)
	await(t, func() bool { return l.actions.Load() > 3 && l.entries.Load() > 20 })
	node.Kill()
	again, err := node.Again(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Kill)
	before := l.actions.Load()
	await(t, func() bool { return l.actions.Load() > before+clients })
	if err := l.Judge(t.Context()); err != nil {
		t.Errorf("%v\n%s", err, again.Log())
	}
	t.Log(l)
}

// TestTheJudgeSeesThatUnrelatedNodesAreNoGrid lets clients use two single nodes
// as if they were one grid.
func TestTheJudgeSeesThatUnrelatedNodesAreNoGrid(t *testing.T) {
	c, err := harness.StartCluster(t.Context(), harness.ClusterOptions{
		Binary: os.Getenv("TEST_BGRID_NODE"), Dir: t.TempDir(), Places: make([]harness.Place, 2), Bare: true, Args: []string{"--slots", "2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	l := startLoad(t, c.Servers()...)
	await(t, func() bool { return l.complaints.count() > 20 && l.actions.Load() > 0 && l.entries.Load() > 20 })
	// Nobody waits for operations that the other node has never heard of.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = l.Judge(ctx)
	if err == nil {
		t.Fatal("no complaint")
	}
	for _, want := range []string{"the action cache: no order explains", "operations: no order explains", "acknowledged blobs are missing", "NotFound"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nobody says %q:\n%v", want, err)
		}
	}
}

func startLoad(t *testing.T, servers ...string) *Load {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	l, err := StartLoad(t.Context(), filepath.Join(t.TempDir(), "load"), servers, rand.New(rand.NewPCG(seed, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// await waits for something that clients do.
func await(t *testing.T, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !happened(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the clients get nowhere")
		}
	}
}
