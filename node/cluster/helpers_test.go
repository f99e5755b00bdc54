package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

const testElection = 250 * time.Millisecond

// fleet is a number of nodes on this machine that know each other's addresses.
type fleet struct {
	t     *testing.T
	token string
	mu    sync.Mutex
	peers []string
	nodes map[string]*node
}

// node is one of them: what outlives its process, and the process.
type node struct {
	f       *fleet
	id, dir string
	addr    string
	adjust  func(*Options)

	*Cluster
	queue *queue.Store
	cache *memCache
}

func newFleet(t *testing.T) *fleet {
	t.Parallel()
	return &fleet{t: t, token: "a token of the tests", nodes: map[string]*node{}}
}

// Lookup implements PeerSource.
func (f *fleet) Lookup(context.Context) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.peers), nil
}

// add makes a node that is not started.
func (f *fleet) add(id string, adjust func(*Options)) *node {
	f.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	n := &node{f: f, id: id, dir: f.t.TempDir(), addr: l.Addr().String(), adjust: adjust}
	_ = l.Close()
	f.mu.Lock()
	f.peers = append(f.peers, n.addr)
	f.mu.Unlock()
	f.nodes[id] = n
	f.t.Cleanup(n.stop)
	return n
}

// start is the start of its process.
func (n *node) start() *node {
	n.f.t.Helper()
	if err := n.open(); err != nil {
		n.f.t.Fatal(err)
	}
	return n
}

func (n *node) open() error {
	n.f.t.Helper()
	var l net.Listener
	var err error
	n.f.until("its address is free", func() bool { // perhaps a client has that port now
		l, err = net.Listen("tcp", n.addr)
		return err == nil
	})
	log := n.logger()
	n.openStores()
	o := Options{
		NodeID: n.id, Advertise: n.addr, Listener: l, Token: []byte(n.f.token), Peers: n.f, Expect: 3, Dir: filepath.Join(n.dir, "cluster"),
		Raft:     raftfsm.RaftOptions{Queue: n.queue, ActionCache: n.cache, ElectionTimeout: testElection},
		Settings: map[string]string{"max-cache-entries": "100"}, Build: "test", Logger: log,
		Register: func(grpc.ServiceRegistrar) {},
	}
	if n.adjust != nil {
		n.adjust(&o)
	}
	n.Cluster, err = Open(context.Background(), o)
	if err != nil {
		_ = l.Close()
		n.stop()
	}
	return err
}

func (n *node) logger() *slog.Logger {
	if !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo})).With("on", n.id)
}

func (n *node) openStores() {
	n.f.t.Helper()
	var err error
	if n.queue, err = queue.Open(context.Background(), queue.Options{Path: filepath.Join(n.dir, "queue.db"), Logger: n.logger()}); err != nil {
		n.f.t.Fatal(err)
	}
	n.cache = &memCache{index: n.queue.AppliedIndex()}
}

// stop is the end of its process, without a word to the others.
func (n *node) stop() {
	if n.Cluster != nil {
		_ = n.Cluster.Close()
	}
	if n.queue != nil {
		_ = n.queue.Close()
	}
	n.Cluster, n.queue, n.cache = nil, nil, nil
}

// loseDisk is the loss of all that it kept.
func (n *node) loseDisk() { n.dir = n.f.t.TempDir() }

// until waits for something that is to come about.
func (f *fleet) until(what string, ok func() bool) {
	f.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			for _, n := range f.nodes {
				if n.Cluster != nil {
					f.t.Logf("%s: %+v", n.id, n.Status(context.Background()))
				}
			}
			f.t.Fatalf("it did not come about: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// formed waits until the nodes are members of one cluster, all with a vote.
func (f *fleet) formed(nodes ...*node) {
	f.t.Helper()
	f.until("a cluster of "+fmt.Sprint(len(nodes)), func() bool {
		leader := ""
		for _, n := range nodes {
			id, ok := n.Leader()
			quorum, _ := n.Quorum()
			if !ok || !quorum || (leader != "" && id != leader) || len(n.Members()) != len(nodes) {
				return false
			}
			for _, m := range n.Members() {
				if !m.Voter || !n.Reachable(m.ID) {
					return false
				}
			}
			leader = id
		}
		return true
	})
}

// trio returns three nodes that have formed a cluster.
func trio(t *testing.T) (*fleet, []*node) {
	t.Helper()
	f := newFleet(t)
	nodes := []*node{f.add("a", nil), f.add("b", nil), f.add("c", nil)}
	for _, n := range nodes {
		n.start()
	}
	f.formed(nodes...)
	return f, nodes
}

// leaderOf returns the leader and the others.
func leaderOf(nodes []*node) (leader *node, others []*node) {
	id, _ := nodes[0].Leader()
	for _, n := range nodes {
		if n.id == id {
			leader = n
		} else {
			others = append(others, n)
		}
	}
	return leader, others
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func submit(name string) *commandpb.Entry {
	return raftfsm.Submit(&queuepb.Submit{
		JobId: "job-" + name, Instance: "main", Action: queue.DigestProto(digest.Of(digest.SHA256, []byte(name))),
		Operation: &queuepb.Operation{Id: "op-" + name, RequestMetadata: []byte{}},
	})
}

// commit proposes through a node until it is acknowledged: on a busy machine a
// leader may lose its office at any time.
func (n *node) commit(name string) {
	n.f.t.Helper()
	ctx := testContext(n.f.t)
	for {
		result, err := n.Proposer().Propose(ctx, submit(name))
		switch {
		case err == nil && (result.Errors[0] == nil || errors.Is(result.Errors[0], queue.ErrExists)):
			return
		case err == nil:
			n.f.t.Errorf("propose %s through %s: %v", name, n.id, result.Errors[0])
			return
		case ctx.Err() != nil:
			n.f.t.Errorf("propose %s through %s: %v", name, n.id, err)
			return
		}
	}
}

// has tells whether a node's own store holds the operation.
func (n *node) has(name string) bool {
	op, _, err := n.queue.Operation(context.Background(), "op-"+name)
	return err == nil && op != nil
}

// memCache is an action cache of which nothing but the index matters here.
type memCache struct {
	mu    sync.Mutex
	index uint64
}

func (m *memCache) Apply(index uint64, _ []queue.ActionCacheWrite) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.index = max(m.index, index)
	return nil
}

func (m *memCache) AppliedIndex() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.index
}

func (m *memCache) Export(_ context.Context, to io.Writer) error {
	return binary.Write(to, binary.BigEndian, m.AppliedIndex())
}

func (m *memCache) Import(_ context.Context, from io.Reader, _ bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return binary.Read(from, binary.BigEndian, &m.index)
}
