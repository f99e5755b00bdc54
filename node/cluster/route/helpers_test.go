package route

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/node/reapi"
)

// trio is three nodes in process. The test says who leads.
type trio struct {
	t     testing.TB
	serve func(n *node, closing context.Context) *Services // what a leader serves
	nodes map[string]*node

	listeners map[string]*bufconn.Listener // of the peer ports

	mu      sync.Mutex
	leader  string // "": nobody
	changed chan struct{}
}

// node is one of them, with a server for clients and one for its peers.
type node struct {
	*trio
	id     string
	router *Router
	public *grpc.Server
	peer   *grpc.Server
	conn   *grpc.ClientConn            // of a client
	peers  map[string]*grpc.ClientConn // to the other nodes
	close  context.CancelFunc          // of the term
	apart  error                       // what Verify says

	execution  repb.ExecutionClient
	operations longrunningpb.OperationsClient
	bots       botspb.BotsClient
}

func newTrio(t testing.TB, serve func(n *node, closing context.Context) *Services) *trio {
	t.Helper()
	c := &trio{t: t, serve: serve, nodes: map[string]*node{}, listeners: map[string]*bufconn.Listener{}, changed: make(chan struct{})}
	for _, id := range []string{"a", "b", "c"} {
		c.listeners[id] = bufconn.Listen(1 << 20)
	}
	for id, l := range c.listeners {
		n := &node{trio: c, id: id, peers: map[string]*grpc.ClientConn{}, close: func() {}}
		c.nodes[id] = n
		var err error
		if n.router, err = New(Options{Cluster: n, Verify: n.verify, Logger: quiet()}); err != nil {
			t.Fatal(err)
		}
		for _, d := range []*grpc.ServiceDesc{&repb.Execution_ServiceDesc, &longrunningpb.Operations_ServiceDesc, &botspb.Bots_ServiceDesc} {
			if err := n.router.Handle(d); err != nil {
				t.Fatal(err)
			}
		}
		n.public, n.peer = grpc.NewServer(reapi.ServerOptions()...), grpc.NewServer(reapi.ServerOptions()...)
		n.router.Register(reapi.Guard(n.public, quiet()))
		n.router.RegisterPeer(reapi.Guard(n.peer, quiet()))
		clients := bufconn.Listen(1 << 20)
		go func() { _ = n.public.Serve(clients) }()
		go func() { _ = n.peer.Serve(l) }()
		n.conn = dial(t, clients)
		n.execution, n.operations, n.bots = repb.NewExecutionClient(n.conn), longrunningpb.NewOperationsClient(n.conn), botspb.NewBotsClient(n.conn)
		for to, l := range c.listeners {
			n.peers[to] = dial(t, l)
		}
	}
	return c
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func dial(t testing.TB, l *bufconn.Listener) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// inBubble runs a test on three nodes that share what is committed, in virtual
// time. It fails when a goroutine is left over.
func inBubble(t *testing.T, test func(t *testing.T, c *trio, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c := newTrio(t, w.term)
		defer c.end()
		test(t, c, w)
		if w.calls() != 0 {
			for _, n := range c.nodes {
				_ = n.conn.Close()
			}
			synctest.Wait()
			if left := w.calls(); left != 0 {
				t.Errorf("%d calls are still served when all clients are gone", left)
			}
		}
	})
}

func (c *trio) end() {
	for _, n := range c.nodes {
		_ = n.conn.Close()
		for _, p := range n.peers {
			_ = p.Close()
		}
		if err := errors.Join(n.router.Close(), n.router.Close()); err != nil {
			c.t.Error(err)
		}
		n.public.Stop()
		n.peer.Stop()
		n.close()
	}
}

// elect makes a node the leader, or nobody. The one before serves on until it
// notices; see resign.
func (c *trio) elect(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader = id
	close(c.changed)
	c.changed = make(chan struct{})
}

// lead makes a node the leader, which serves at once; the one before resigns.
func (c *trio) lead(id string) *node {
	c.mu.Lock()
	before := c.nodes[c.leader]
	c.mu.Unlock()
	c.elect(id)
	if before != nil {
		before.resign()
	}
	n := c.nodes[id]
	n.begin()
	return n
}

// begin makes a node serve.
func (n *node) begin() {
	closing, end := context.WithCancel(context.Background())
	n.close = end
	n.router.Lead(n.serve(n, closing))
}

// resign ends a node's term: what it serves ends first, as in a node.
func (n *node) resign() {
	n.close()
	n.router.Follow()
}

// kill ends a node's process.
func (n *node) kill() {
	n.peer.Stop()
	n.close()
}

func (n *node) Self() string { return n.id }

func (n *node) Leader() (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.leader, n.leader != ""
}

func (n *node) Changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

func (n *node) Conn(id string) (*grpc.ClientConn, error) {
	if p := n.peers[id]; p != nil {
		return p, nil
	}
	return nil, errors.New("no such node")
}

func (n *node) verify(context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.leader != n.id {
		return errors.New("it does not lead")
	}
	return n.apart
}

// soon is a deadline that no call of a test reaches unless it hangs.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	t.Cleanup(cancel)
	return ctx
}
