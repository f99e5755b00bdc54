package cluster

import (
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/test/harness"
)

// TestAcceptedOperationsSurviveTheLossOfTheLeader: one of them runs, one waits for
// a slot. The leader goes with its disk; both come to their ends, run once, and are
// known to every node, the one that came back with nothing included.
func TestAcceptedOperationsSurviveTheLossOfTheLeader(t *testing.T) {
	g := startGrid(t, Options{Workers: 1, Slots: 1})
	leader, others := g.leads()
	running := g.slow(others[0], "running")
	g.awaitRun("running")
	waiting := g.slow(leader, "waiting")
	g.lose(leader)
	g.release("running")
	g.release("waiting")
	for _, i := range others {
		g.done(i, running, "running")
		g.done(i, waiting, "waiting")
	}
	g.again(leader)
	g.done(leader, running, "running")
	g.done(leader, waiting, "waiting")
	for _, name := range []string{"running", "waiting"} {
		if n := g.runs(name); n != 1 {
			t.Errorf("%s ran %d times", name, n)
		}
	}
}

// TestAWorkerHandsItsResultToTheNextLeader: actions run while the leader dies; one
// ends while there is none, one later.
func TestAWorkerHandsItsResultToTheNextLeader(t *testing.T) {
	g := startGrid(t, Options{})
	leader, others := g.leads()
	var operations []string
	for _, name := range []string{"a", "b"} {
		operations = append(operations, g.slow(others[0], name))
		g.awaitRun(name)
	}
	g.Members[leader].Kill()
	g.release("a")
	g.done(others[0], operations[0], "a")
	g.release("b")
	g.done(others[1], operations[1], "b")
	g.again(leader)
	for i, name := range []string{"a", "b"} {
		g.done(leader, operations[i], name)
		if n := g.runs(name); n != 1 {
			t.Errorf("%s ran %d times", name, n)
		}
	}
}

// TestAcknowledgedBlobsAndResultsSurviveTheLossOfAnyOneNode loses each node in
// turn, with its disk. What a node has lost gets its second copy when somebody asks
// for it.
func TestAcknowledgedBlobsAndResultsSurviveTheLossOfAnyOneNode(t *testing.T) {
	g := startGrid(t, Options{Workers: 1})
	random := rand.New(rand.NewPCG(1, 2))
	var all []digest.Digest
	var results []result
	for i := range g.Members {
		c := g.client(i)
		var sources []client.Source
		for _, size := range []int{0, 1, 1000, 100_000, 3 << 20, 9 << 20} {
			sources = append(sources, client.Blob(digest.SHA256, randomBytes(random, size)))
		}
		if _, err := c.Upload(t.Context(), sources, nil); err != nil {
			t.Fatal(err)
		}
		for n, s := range sources {
			all = append(all, s.Digest)
			results = append(results, g.putResult(i, fmt.Sprintf("%d-%d", i, n), s.Digest))
		}
	}
	for lost := range g.Members {
		g.lose(lost)
		for i := range g.Members {
			if i != lost {
				g.has(i, all, results)
			}
		}
		g.again(lost)
		g.has(lost, all, results)
	}
}

// result is an entry of the action cache with one output.
type result struct{ action, output digest.Digest }

func (g *testGrid) putResult(i int, name string, output digest.Digest) result {
	g.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+g.Servers()[i], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	r := result{digest.Of(digest.SHA256, []byte(name)), output}
	_, err = repb.NewActionCacheClient(conn).UpdateActionResult(g.t.Context(), &repb.UpdateActionResultRequest{
		InstanceName: harness.Instance, ActionDigest: r.action.Proto(),
		ActionResult: &repb.ActionResult{OutputFiles: []*repb.OutputFile{{Path: "out", Digest: output.Proto()}}},
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return r
}

// has checks that a member has everything: as copies in the grid, and to read.
func (g *testGrid) has(i int, all []digest.Digest, results []result) {
	g.t.Helper()
	c, id := g.client(i), g.Members[i].ID
	for _, r := range results {
		have, err := c.CachedResult(g.t.Context(), r.action)
		if err != nil || have.GetOutputFiles()[0].GetDigest().GetHash() != r.output.Hex() {
			g.t.Fatalf("a result through %s: %v, %v", id, have, err)
		}
	}
	missing, err := c.FindMissing(g.t.Context(), all)
	if err != nil || len(missing) > 0 {
		g.t.Fatalf("%d of %d blobs are missing through %s, %v", len(missing), len(all), id, err)
	}
	for _, d := range all {
		if err := c.Fetch(g.t.Context(), d, io.Discard); err != nil {
			g.t.Fatalf("through %s: %v", id, err)
		}
	}
}

// TestNothingIsLostWhateverHappensToOneNode is `make soak ARGS="-run cluster"` in
// miniature: the kinds of faults that tell the most.
func TestNothingIsLostWhateverHappensToOneNode(t *testing.T) {
	g := startGrid(t, Options{})
	if err := g.Loop(t.Context(), filepath.Join(g.dir, "loop"), 6, nil, nil); err != nil {
		t.Fatal(err)
	}
}
