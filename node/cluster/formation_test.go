package cluster

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bgrid-node/bgrid-node/node/cluster/link"
	"github.com/bgrid-node/bgrid-node/raftfsm"
)

// livesAlone lets a node stand alone for a while: it gets data of its own.
func (n *node) livesAlone(names ...string) {
	n.f.t.Helper()
	n.openStores()
	local, err := raftfsm.OpenLocal(context.Background(), raftfsm.LocalOptions{Queue: n.queue, ActionCache: n.cache})
	if err != nil {
		n.f.t.Fatal(err)
	}
	for _, name := range names {
		if _, err := local.Propose(context.Background(), submit(name)); err != nil {
			n.f.t.Fatal(err)
		}
	}
	_ = local.Close()
	n.stop()
}

func (n *node) problem() string { return n.Status(testContext(n.f.t)).Problem }

func TestPeersWhoseNamesDoNotResolveYetAreWaitedFor(t *testing.T) {
	f := newFleet(t)
	var resolves atomic.Bool
	adjust := func(o *Options) {
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			if !resolves.Load() {
				return nil, &net.DNSError{Err: "no such host", Name: addr, IsNotFound: true}
			}
			return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		}
	}
	nodes := []*node{f.add("a", adjust).start(), f.add("b", adjust).start(), f.add("c", adjust).start()}
	f.until("a says that it cannot find the others", func() bool { return strings.Contains(nodes[0].problem(), "no such host") })
	resolves.Store(true)
	f.formed(nodes...)
}

func TestANodeThatStoodAloneFoundsTheClusterAndGivesItsDataToAll(t *testing.T) {
	f := newFleet(t)
	a, b, c := f.add("a", nil), f.add("b", nil), f.add("c", nil)
	c.livesAlone("old") // its id is not the smallest: its data decide
	for _, n := range []*node{a, b, c} {
		n.start()
	}
	f.formed(a, b, c)
	for _, n := range []*node{a, b, c} {
		f.until(n.id+" has what c had", func() bool { return n.has("old") })
	}
}

func TestTwoNodesWithDataDoNotBecomeOneCluster(t *testing.T) {
	f := newFleet(t)
	a, b, c := f.add("a", nil), f.add("b", nil), f.add("c", nil)
	a.livesAlone("of a")
	c.livesAlone("of c")
	for _, n := range []*node{a, b, c} {
		n.start()
	}
	want := "the nodes a, c each have jobs or results of their own"
	for _, n := range []*node{a, b, c} {
		f.until(n.id+" names both", func() bool { return strings.Contains(n.problem(), want) })
	}
}

func aWrongTokenIsRefused(t *testing.T, f *fleet, nodes []*node) {
	d := f.add("d", func(o *Options) { o.Token = []byte("not the token of the others"); o.Expect = 0 }).start()
	f.until("d says why it cannot join", func() bool { return strings.Contains(d.problem(), link.ErrToken.Error()) })
	if n := len(nodes[0].Members()); n != 3 {
		t.Errorf("%d members", n)
	}
	control, err := NewControl(nodes[0].addr, []byte("not the token of the others"), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := control.Status(testContext(t)); !errors.Is(err, link.ErrToken) {
		t.Errorf("status with another token: %v", err)
	}
	d.stop()
}

func aNodeWithOtherSettingsIsRefused(t *testing.T, f *fleet, _ []*node) {
	e := f.add("e", func(o *Options) { o.Settings = map[string]string{"max-cache-entries": "7"} }).start()
	f.until("e names the setting and both values", func() bool {
		p := e.problem()
		return strings.Contains(p, `--max-cache-entries is "100" on node `) && strings.Contains(p, `and "7" here`)
	})
	e.stop()
}

func TestADataDirectoryKeepsItsNode(t *testing.T) {
	f := newFleet(t)
	a := f.add("a", nil).start()
	a.stop()
	a.id = "b"
	err := a.open()
	if err == nil || !strings.Contains(err.Error(), "--node-id b: this data directory is that of node a") {
		t.Errorf("opened as another node: %v", err)
	}
}

func TestANodeOfAnotherClusterIsRefused(t *testing.T) {
	f, nodes := trio(t)
	stranger := f.add("z", func(o *Options) { o.Expect = 1; o.Peers = nil }).start()
	f.formed(stranger)
	stranger.stop()
	if err := moveLog(stranger.dir); err != nil { // its identity stays: a node that was reset halfway
		t.Fatal(err)
	}
	stranger.adjust = nil
	stranger.start()
	f.until("z says that it belongs elsewhere", func() bool { return strings.Contains(stranger.problem(), "this data directory belongs to the cluster") })
	if n := len(nodes[0].Members()); n != 3 {
		t.Errorf("%d members", n)
	}
}
