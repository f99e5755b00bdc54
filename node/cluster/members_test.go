package cluster

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bgrid-node/bgrid-node/node/cluster/link"
	"github.com/bgrid-node/bgrid-node/node/cluster/peerpb"
)

func moveLog(dir string) error {
	return os.Rename(filepath.Join(dir, "cluster", "raft"), filepath.Join(dir, "raft.old"))
}

// move gives a node another address, which only the peers' list knows.
func (n *node) move() {
	n.f.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		n.f.t.Fatal(err)
	}
	_ = l.Close()
	n.f.mu.Lock()
	defer n.f.mu.Unlock()
	for i, p := range n.f.peers {
		if p == n.addr {
			n.f.peers[i] = l.Addr().String()
		}
	}
	n.addr = l.Addr().String()
}

func TestAllThreeRestartAtOtherAddresses(t *testing.T) {
	f, nodes := trio(t)
	nodes[0].commit("before")
	for _, n := range nodes {
		n.stop()
	}
	for _, n := range nodes {
		n.move()
	}
	for _, n := range nodes {
		n.start()
	}
	f.formed(nodes...)
	for _, n := range nodes {
		if err := n.ReadBarrier(testContext(t)); err != nil || !n.has("before") {
			t.Errorf("%s after the restart: %v, has what was committed: %t", n.id, err, n.has("before"))
		}
	}
	f.until("the log has the new addresses", func() bool {
		for _, m := range nodes[0].Members() {
			if m.Address != f.nodes[m.ID].addr {
				return false
			}
		}
		return true
	})
}

func TestAFourthNodeJoinsAndVotes(t *testing.T) {
	f, nodes := trio(t)
	nodes[0].commit("before")
	d := f.add("d", nil).start()
	f.formed(append(nodes, d)...)
	if err := d.ReadBarrier(testContext(t)); err != nil || !d.has("before") {
		t.Errorf("after a read barrier: %v, has what was committed: %t", err, d.has("before"))
	}
}

func TestADeadNodeIsReplacedUnderItsNameWithAnEmptyDisk(t *testing.T) {
	f, nodes := trio(t)
	_, others := leaderOf(nodes)
	lost := others[0]
	lost.stop()
	others[1].commit("meanwhile")
	lost.loseDisk()
	lost.start()
	f.formed(nodes...)
	if err := lost.ReadBarrier(testContext(t)); err != nil || !lost.has("meanwhile") {
		t.Errorf("after a read barrier: %v, has what was committed: %t", err, lost.has("meanwhile"))
	}
}

// A blank node that votes could elect a leader that lacks what its old disk had
// acknowledged.
func TestABlankNodeDoesNotVoteBeforeALeaderTookItIn(t *testing.T) {
	f, nodes := trio(t)
	leader, others := leaderOf(nodes)
	for _, n := range nodes {
		n.stop()
	}
	behind, blank := others[0], others[1]
	blank.loseDisk()
	behind.start()
	blank.start()
	f.until("the blank node says what it waits for", func() bool { return blank.problem() != "" })
	f.until("the blank node asked to join in vain", func() bool { return strings.Contains(blank.problem(), "no leader") })
	_, err := behind.dialMember(testContext(t), blank.id, link.Raft)
	var refused *link.Refusal
	if !errors.As(err, &refused) || refused.Code != peerpb.Verdict_NOT_MEMBER {
		t.Errorf("its log is served: %v", err)
	}
	if term := blank.Raft().Term(); term != 0 {
		t.Errorf("the blank node is at term %d: it took part in an election", term)
	}
	leader.start()
	f.formed(nodes...)
}

func TestARemovedNodeStaysOutUntilItIsJoinedAgain(t *testing.T) {
	f, nodes := trio(t)
	_, others := leaderOf(nodes)
	gone, other := others[0], others[1]
	control := func(n *node) *Control {
		c, err := NewControl(n.addr, []byte(f.token), "test", nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if err := control(other).Remove(testContext(t), gone.id); err != nil { // a follower passes it on
		t.Fatal(err)
	}
	out := func() bool {
		quorum, _ := gone.Quorum()
		return !quorum && strings.Contains(gone.problem(), "was removed")
	}
	f.until("the removed node knows", out)
	gone.stop()
	gone.start()
	f.until("it knows after a restart", out)
	f.until("the others are two", func() bool { return len(other.Members()) == 2 })
	if err := control(gone).Join(testContext(t), other.addr); err != nil {
		t.Fatal(err)
	}
	f.formed(nodes...)
}

func TestNoRemovalThatLeavesNoMajority(t *testing.T) {
	f, nodes := trio(t)
	leader, others := leaderOf(nodes)
	others[0].stop()
	f.until("the leader knows that it is gone", func() bool { return !leader.Reachable(others[0].id) })
	err := leader.Remove(testContext(t), others[1].id)
	if err == nil || !strings.Contains(err.Error(), "1 of the other 2 members can be reached, and 2 are needed") {
		t.Errorf("remove of the last other member that lives: %v", err)
	}
	if err := leader.Remove(testContext(t), others[0].id); err != nil { // the dead one shrinks the cluster
		t.Fatal(err)
	}
	leader.commit("of two")
	if err := leader.Remove(testContext(t), "nobody"); err == nil || !strings.Contains(err.Error(), "nobody is no member") {
		t.Errorf("remove of a node that is no member: %v", err)
	}
}

func TestTheLeaderCanLeave(t *testing.T) {
	f, nodes := trio(t)
	leader, others := leaderOf(nodes)
	if err := leader.Leave(testContext(t)); err != nil {
		t.Fatal(err)
	}
	f.formed(others...)
	if quorum, _ := leader.Quorum(); quorum {
		t.Error("it takes part still")
	}
}
