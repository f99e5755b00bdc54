package route

import (
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// asPeer calls a node's peer port, as other nodes do.
func (n *node) asPeer() *node {
	conn := n.peers[n.id]
	return &node{trio: n.trio, id: n.id, execution: repb.NewExecutionClient(conn), operations: longrunningpb.NewOperationsClient(conn)}
}

func TestPeersAreNotToldCanceledWhenATermEnds(t *testing.T) {
	for name, end := range map[string]func(c *trio){
		"its services stop first": func(c *trio) { c.nodes["a"].close() },
		"its calls end first":     func(c *trio) { c.nodes["a"].router.Follow() },
		"another one leads":       func(c *trio) { c.lead("b") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *trio, w *world) {
				c.lead("a")
				s := c.nodes["a"].asPeer().execute(soon(t)).next(queued).quiet()
				end(c)
				s.ends(codes.Unavailable)
				wantRetryInfo(t, s.err)
			})
		})
	}
}

func TestOfATermThatEndsPeersHearNothingElse(t *testing.T) {
	for _, x := range []struct {
		fails, want codes.Code
		ends        bool
	}{
		{codes.Internal, codes.Unavailable, true},
		{codes.Canceled, codes.Unavailable, true},
		{codes.Canceled, codes.Unavailable, false}, // the peer did not cancel
		{codes.DeadlineExceeded, codes.Unavailable, false},
		{codes.Internal, codes.Internal, false},
	} {
		inBubble(t, func(t *testing.T, c *trio, w *world) {
			c.lead("a")
			w.fails = status.Error(x.fails, "it fails")
			if x.ends {
				w.when("received", c.nodes["a"].router.Follow)
			}
			_, err := c.nodes["a"].asPeer().operations.GetOperation(soon(t), get("main/1"))
			if status.Code(err) != x.want {
				t.Errorf("%+v: %v", x, err)
			}
		})
	}
}

func TestOnlyTheLeaderServesItsPeers(t *testing.T) {
	inBubble(t, func(t *testing.T, c *trio, w *world) {
		c.lead("a")
		c.nodes["b"].asPeer().execute(soon(t)).ends(codes.Unavailable)

		c.lead("a")
		c.nodes["a"].resign()
		c.elect("b") // it is not ready yet, and then loses the lead to nobody
		s := c.nodes["b"].asPeer().execute(soon(t)).quiet()
		time.Sleep(time.Second)
		s.quiet()
		c.elect("")
		time.Sleep(time.Second)
		synctest.Wait()
		if w.calls() != 0 || len(s.ops) != 0 {
			t.Error("it was served")
		}
		lost := time.Now()
		s.ends(codes.Unavailable)
		if time.Since(lost) > 0 {
			t.Errorf("the peer was kept for %v", time.Since(lost))
		}
	})
}

// TestTheNextLeaderIsAskedAtOnce has a node that is used to pauses: the leader is
// dead, and nobody noticed.
func TestTheNextLeaderIsAskedAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, c *trio, w *world) {
		c.lead("a")
		c.nodes["a"].kill()
		s := c.nodes["c"].execute(soon(t))
		time.Sleep(5*time.Second + 123*time.Millisecond)
		s.quiet()
		led := time.Now()
		c.lead("b")
		s.next(queued)
		if took := time.Since(led); took > 0 {
			t.Errorf("it took %v", took)
		}
	})
}

func TestPatienceBeginsAnewWithEachLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, c *trio, w *world) {
		s := c.nodes["c"].execute(soon(t))
		for _, id := range []string{"a", "b"} { // both are dead before anybody notices
			c.nodes[id].kill()
			c.elect(id)
			time.Sleep(7 * time.Second)
			s.quiet()
		}
		c.lead("c")
		s.next(queued)
	})
}

// TestAClosedConnectionIsNoCancellation closes one as a cluster does that learned of
// another address: patience begins anew when the next one was good for some time.
func TestAClosedConnectionIsNoCancellation(t *testing.T) {
	inBubble(t, func(t *testing.T, c *trio, w *world) {
		c.lead("a")
		n := c.nodes["b"]
		s := n.execute(soon(t)).next(queued)
		waited := make(chan error, 1)
		go func() {
			_, err := n.operations.WaitOperation(soon(t), &longrunningpb.WaitOperationRequest{Name: s.name})
			waited <- err
		}()
		cut := func(good time.Duration) {
			if err := n.peers["a"].Close(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			s.quiet()
			n.peers["a"] = dial(t, c.listeners["a"])
			time.Sleep(good)
		}
		cut(12 * time.Second)
		cut(12 * time.Second)
		w.stage(s.name, completed)
		if err := <-waited; err != nil {
			t.Error(err)
		}
		s.next(completed).ends(codes.OK)

		s = n.execute(soon(t)).next(queued)
		for range 5 {
			cut(4 * time.Second)
		}
		w.stage(s.name, completed)
		s.next(completed).ends(codes.OK)
	})
}
