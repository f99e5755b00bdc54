package cluster

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/bgrid-node/bgrid-node/node/cluster/link"
	"github.com/bgrid-node/bgrid-node/node/cluster/peerpb"
	"github.com/bgrid-node/bgrid-node/raftfsm"
)

// ask puts a question to a node as one who holds the token.
func (n *node) ask(question func(context.Context, peerpb.PeerClient) error) {
	n.f.t.Helper()
	self := &link.Self{Token: []byte(n.f.token), Hello: func() *peerpb.Hello { return &peerpb.Hello{} }}
	if err := askAt(testContext(n.f.t), &link.Dialer{Self: self}, n.addr, question); err != nil {
		n.f.t.Fatal(err)
	}
}

func (n *node) askGrant(cluster, founder, address string) (reply *peerpb.GrantReply) {
	n.f.t.Helper()
	n.ask(func(ctx context.Context, p peerpb.PeerClient) (err error) {
		reply, err = p.Grant(ctx, &peerpb.GrantRequest{ClusterId: cluster, FounderId: founder, FounderAddress: address})
		return err
	})
	return reply
}

func TestAPromiseIsGivenToOneClusterOnly(t *testing.T) {
	f := newFleet(t)
	b, a := f.add("b", nil).start(), f.add("a", nil).start()
	nobody := "127.0.0.1:1"
	granted := func(cluster, founder, address string, want bool, heldBy string) {
		t.Helper()
		if r := b.askGrant(cluster, founder, address); r.Granted != want || r.HeldBy != heldBy {
			t.Errorf("cluster %s of %s: %v", cluster, founder, r)
		}
	}
	granted("X", "z", nobody, true, "")
	granted("X", "z", nobody, true, "")
	granted("Y", "y", nobody, false, "z")
	b.stop()
	b.start()
	granted("Y", "y", nobody, false, "z") // it is durable
	granted("Z", "z", nobody, true, "")   // z lost its disk, and so X never will be
	granted("A", "z", nobody, true, "")
	granted("V", "a", a.addr, false, "z")
	b.stop()
	b.loseDisk()
	b.start()
	granted("W", "a", a.addr, true, "")
	granted("Y", "y", nobody, true, "") // a is asked, and means to found no such cluster
}

func TestABlankNodeLosesTheVoteOfItsOldDiskFirst(t *testing.T) {
	f, nodes := trio(t)
	leader, others := leaderOf(nodes)
	others[0].stop()
	f.until("the leader knows that it is gone", func() bool { return !leader.Reachable(others[0].id) })
	var reply *peerpb.JoinReply
	f.until("the leader answers", func() bool {
		leader, _ := leaderOf([]*node{leader, others[1]})
		if leader == nil {
			return false
		}
		var err error
		reply, err = leader.admitMember(testContext(t), &peerpb.JoinRequest{
			NodeId: others[0].id, Address: others[0].addr, Blank: true, CommandVersion: raftfsm.Version, Settings: leader.o.Settings,
		})
		return err == nil && !reply.NotLeader
	})
	for _, s := range reply.Servers {
		if s.Voter != (s.NodeId != others[0].id) {
			t.Errorf("right after it came back blank: %v", s)
		}
	}
	others[0].loseDisk()
	others[0].start()
	f.formed(nodes...)
}

// A second node that was started with the name of the first, by mistake.
func TestNobodyTakesTheNameOfAMemberThatLives(t *testing.T) {
	f, nodes := trio(t)
	leader, others := leaderOf(nodes)
	for _, n := range []*node{leader, others[0]} {
		var reply *peerpb.JoinReply
		leader.ask(func(ctx context.Context, p peerpb.PeerClient) (err error) {
			reply, err = p.Join(ctx, &peerpb.JoinRequest{
				NodeId: n.id, Address: "elsewhere:1", Instance: []byte("another process"), Blank: true,
				CommandVersion: raftfsm.Version, Settings: leader.o.Settings,
			})
			return err
		})
		if want := "--node-id " + n.id + " is that of the node at " + n.addr + ", which lives"; !strings.Contains(reply.Refused, want) {
			t.Errorf("answered %v, want %s", reply, want)
		}
	}
	f.formed(nodes...)
}

func whoCannotBeAMember(t *testing.T, f *fleet, nodes []*node) {
	fit := func() *peerpb.JoinRequest {
		return &peerpb.JoinRequest{NodeId: "d", Address: "d:1", Blank: true, CommandVersion: raftfsm.Version, Settings: map[string]string{"max-cache-entries": "100"}}
	}
	ask := func(n *node, req *peerpb.JoinRequest) (reply *peerpb.JoinReply) {
		n.ask(func(ctx context.Context, p peerpb.PeerClient) (err error) {
			reply, err = p.Join(ctx, req)
			return err
		})
		return reply
	}
	for want, change := range map[string]func(*peerpb.JoinRequest){
		"node d knows version 0 of the commands, the cluster is at": func(r *peerpb.JoinRequest) { r.CommandVersion = 0 },
		`and "" here: it must be the same on all members`:           func(r *peerpb.JoinRequest) { r.Settings = nil },
		`--more is "" on node `:                                     func(r *peerpb.JoinRequest) { r.Settings["more"] = "1" },
		"node d belongs to the cluster Q, this is ":                 func(r *peerpb.JoinRequest) { r.ClusterId = "Q" },
		`node id "d@e": want 1 to 255 letters`:                      func(r *peerpb.JoinRequest) { r.NodeId = "d@e" },
	} {
		req := fit()
		change(req)
		f.until("refused with "+want, func() bool {
			leader, _ := leaderOf(nodes)
			return leader != nil && strings.Contains(ask(leader, req).Refused, want)
		})
	}
	f.until("a follower names the leader", func() bool {
		leader, others := leaderOf(nodes)
		if leader == nil {
			return false
		}
		req := fit()
		req.OnlyKnown = true
		reply := ask(others[0], req)
		return reply.NotLeader && reply.LeaderAddress == leader.addr
	})
	if n := len(nodes[0].Members()); n != 3 {
		t.Errorf("%d members", n)
	}
}

func TestTheStatusHasStableKeys(t *testing.T) {
	b, err := json.Marshal(Status{Problem: "p", Members: []MemberStatus{{Trouble: "t"}}})
	want := `{"node":"","cluster_id":"","leader":"","term":0,"quorum":false,"problem":"p","members":[` +
		`{"id":"","address":"","voter":false,"state":"","term":0,"applied_index":0,"lag_entries":0,"last_contact_ms":0,` +
		`"snapshot_index":0,"log_bytes":0,"disk_used_bytes":0,"disk_free_bytes":0,"version":"","trouble":"t"}]}`
	if err != nil || string(b) != want {
		t.Errorf("%s %v", b, err)
	}
}
