package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// Every proposal gets an answer that is true while its leader is killed: what was
// acknowledged is there, what was not proposed is not.
func TestProposalsThroughFollowersWhileTheLeaderIsKilled(t *testing.T) {
	f, nodes := trio(t)
	leader, others := leaderOf(nodes)
	var acknowledged, notProposed sync.Map
	var count atomic.Int32
	var clients sync.WaitGroup
	ctx, cancel := context.WithCancel(testContext(t))
	for i := range 8 {
		clients.Go(func() {
			for j := 0; ctx.Err() == nil; j++ {
				name := fmt.Sprintf("%d-%d", i, j)
				result, err := others[i%2].Proposer().Propose(ctx, submit(name))
				switch {
				case err == nil && result.Errors[0] == nil:
					acknowledged.Store(name, true)
					count.Add(1)
				case err == nil:
					t.Errorf("%s was refused: %v: was it proposed twice?", name, result.Errors[0])
				case errors.Is(err, raftfsm.ErrNotProposed):
					notProposed.Store(name, true)
				}
			}
		})
	}
	f.until("some proposals went through", func() bool { return count.Load() > 100 })
	leader.stop()
	before := count.Load()
	f.until("proposals go through again", func() bool { return count.Load() > before+100 })
	cancel()
	clients.Wait()
	for _, n := range others {
		if err := n.ReadBarrier(testContext(t)); err != nil {
			t.Fatal(err)
		}
		acknowledged.Range(func(name, _ any) bool {
			if !n.has(name.(string)) {
				t.Errorf("%s lost %s, which was acknowledged", n.id, name)
			}
			return true
		})
		notProposed.Range(func(name, _ any) bool {
			if n.has(name.(string)) {
				t.Errorf("%s has %s, which was said not to be proposed", n.id, name)
			}
			return true
		})
	}
}

func readsSeeWhatWasAcknowledgedBeforeThem(t *testing.T, _ *fleet, nodes []*node) {
	var clients sync.WaitGroup
	for i := range 16 {
		clients.Go(func() {
			for j := range 20 {
				name := fmt.Sprintf("%d-%d", i, j)
				nodes[i%3].commit(name)
				reader := nodes[(i+j)%3]
				if err := reader.ReadBarrier(testContext(t)); err != nil {
					t.Error(err)
				}
				if !reader.has(name) {
					t.Errorf("%s does not see %s, which %s acknowledged", reader.id, name, nodes[i%3].id)
				}
			}
		})
	}
	clients.Wait()
}

func refusalsOfEntriesKeepTheirMeaningThroughAFollower(t *testing.T, _ *fleet, nodes []*node) {
	_, others := leaderOf(nodes)
	others[0].commit("one")
	result, err := others[0].Proposer().Propose(testContext(t), submit("one"), submit("two"))
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(result.Errors[0], queue.ErrExists) || result.Errors[1] != nil {
		t.Errorf("errors %v, want that the first exists", result.Errors)
	}
}

func TestWithoutAQuorumReadsFailAfterAWhileAndProposalsWait(t *testing.T) {
	f, nodes := trio(t)
	n := nodes[0]
	n.patience = 300 * time.Millisecond
	nodes[1].stop()
	nodes[2].stop()
	f.until("it knows that it has no quorum", func() bool { ok, _ := n.Quorum(); return !ok })
	if err := n.ReadBarrier(testContext(t)); !errors.Is(err, ErrNoQuorum) {
		t.Errorf("read barrier: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, err := n.Proposer().Propose(ctx, submit("waits")); !errors.Is(err, raftfsm.ErrNotProposed) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("propose: %v", err)
	}
	nodes[1].start()
	if _, err := n.Proposer().Propose(testContext(t), submit("went")); err != nil {
		t.Errorf("propose with a quorum again: %v", err)
	}
}

func leadershipIsHandedOver(t *testing.T, f *fleet, nodes []*node) {
	leader, others := leaderOf(nodes)
	c, err := NewControl(others[0].addr, []byte(f.token), "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	next, err := c.Transfer(testContext(t))
	if err != nil || next == leader.id || next == "" {
		t.Fatalf("leader %q after %q: %v", next, leader.id, err)
	}
	f.until("the status tells of the new term", func() bool {
		status, err := c.Status(testContext(t))
		if err != nil || !status.Quorum || len(status.Members) != 3 {
			return false
		}
		for _, m := range status.Members {
			if (m.State == StateLeader) != (m.ID == status.Leader) || m.Term != status.Term || m.Version != "test" {
				return false
			}
		}
		return status.Leader != leader.id
	})
}

// cuttable are connections of a network that can begin to drop everything.
type cuttable struct{ cut atomic.Bool }

func (c *cuttable) dial(ctx context.Context, addr string) (net.Conn, error) {
	if c.cut.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &cuttableConn{Conn: conn, of: c}, nil
}

type cuttableConn struct {
	net.Conn
	of *cuttable
}

func (c *cuttableConn) Write(b []byte) (int, error) {
	if c.of.cut.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func TestAMemberBehindABrokenNetworkIsNoticedAndComesBack(t *testing.T) {
	f := newFleet(t)
	network := &cuttable{}
	a := f.add("a", func(o *Options) { o.Dial = network.dial }).start()
	b, c := f.add("b", nil).start(), f.add("c", nil).start()
	f.formed(a, b, c)
	changed := a.Changed()
	network.cut.Store(true)
	f.until("a cannot reach the others", func() bool { return !a.Reachable("b") && !a.Reachable("c") })
	<-changed
	network.cut.Store(false)
	f.formed(a, b, c)
}
