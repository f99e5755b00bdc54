package placement

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/bgrid-node/bgrid-node/node/reapi"
	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// grid is some nodes in this process, over connections in memory.
type grid struct {
	t     testing.TB
	nodes []*node

	mu      sync.Mutex
	members []string
	cut     map[[2]string]bool // pairs that cannot reach each other
	changed chan struct{}
}

// node is one of them.
type node struct {
	grid   *grid
	id     string
	dir    string // of the store
	store  *cas.Store
	blobs  *Blobs
	server *grpc.Server
	lis    *bufconn.Listener

	silent chan struct{} // calls are held while it is open; nil: they are not
	held   chan struct{} // gets a token for each

	mu    sync.Mutex
	conns map[string]*grpc.ClientConn
	open  map[net.Conn]string // connections to others
}

type option struct {
	replicas int
	maxBytes int64
	patience time.Duration // 0: none
}

// newGrid starts n nodes that are members of one cluster.
func newGrid(t testing.TB, n int, o ...option) *grid {
	t.Helper()
	g := &grid{t: t, cut: make(map[[2]string]bool), changed: make(chan struct{})}
	for range n {
		g.add(o...)
	}
	for _, n := range g.nodes {
		g.members = append(g.members, n.id)
	}
	for _, n := range g.nodes {
		n.blobs.Join(n)
	}
	return g
}

// add starts a node that is not a member.
func (g *grid) add(options ...option) *node {
	g.t.Helper()
	o := option{maxBytes: 256 << 20}
	if len(options) > 0 {
		o = options[min(len(g.nodes), len(options)-1)]
	}
	if o.maxBytes == 0 {
		o.maxBytes = 256 << 20
	}
	n := &node{grid: g, id: fmt.Sprint("n", len(g.nodes)+1), conns: make(map[string]*grpc.ClientConn), open: make(map[net.Conn]string)}
	quiet := slog.New(slog.DiscardHandler)
	n.dir = g.t.TempDir()
	var err error
	if n.store, err = cas.Open(context.Background(), cas.Options{Dir: n.dir, MaxBytes: o.maxBytes, ScrubInterval: -1, Logger: quiet}); err != nil {
		g.t.Fatal(err)
	}
	if n.blobs, err = New(Options{Local: n.store, Replicas: o.replicas, Patience: max(o.patience, 1), Logger: quiet}); err != nil {
		g.t.Fatal(err)
	}
	n.held = make(chan struct{}, 100)
	n.server, n.lis = grpc.NewServer(append(reapi.ServerOptions(),
		grpc.UnaryInterceptor(n.intercept), grpc.StreamInterceptor(n.interceptStream))...), bufconn.Listen(1<<20)
	if err := reapi.RegisterBlobs(n.server, reapi.BlobsOptions{Store: n.store, Logger: quiet}); err != nil {
		g.t.Fatal(err)
	}
	go func() { _ = n.server.Serve(n.lis) }()
	g.nodes = append(g.nodes, n)
	g.t.Cleanup(func() {
		n.server.Stop()
		_ = n.blobs.Close()
		for _, c := range n.conns {
			_ = c.Close()
		}
		if err := n.store.Close(); err != nil {
			g.t.Error(err)
		}
	})
	return n
}

// change does what it is told, and says that something changed.
func (g *grid) change(do func()) {
	g.mu.Lock()
	do()
	close(g.changed)
	g.changed = make(chan struct{})
	g.mu.Unlock()
	for _, n := range g.nodes { // tests need not wait until all have heard of it
		if !n.blobs.view.Load().alone() {
			n.blobs.look(n)
		}
	}
}

// part separates nodes from all others: connections break, and members are known
// to be out of reach.
func (g *grid) part(away ...*node) {
	g.breakOff(away...)
	g.change(func() {})
}

// breakOff is part before anybody has noticed.
func (g *grid) breakOff(away ...*node) {
	g.mu.Lock()
	for _, a := range away {
		for _, o := range g.nodes {
			if !slices.Contains(away, o) {
				g.cut[[2]string{a.id, o.id}], g.cut[[2]string{o.id, a.id}] = true, true
			}
		}
	}
	g.mu.Unlock()
	for _, n := range g.nodes {
		n.hangUp()
	}
}

// join mends all partitions.
func (g *grid) join() { g.change(func() { clear(g.cut) }) }

// kill ends a node for the others.
func (g *grid) kill(n *node) {
	g.part(n)
	n.server.Stop()
}

// hold makes a node answer no call until it is released.
func (n *node) hold() (release func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	silent := make(chan struct{})
	n.silent = silent
	return sync.OnceFunc(func() { close(silent) })
}

func (n *node) intercept(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	n.pause()
	return handle(ctx, req)
}

func (n *node) interceptStream(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	n.pause()
	return handle(srv, s)
}

// pause holds a call while its node is silent.
func (n *node) pause() {
	n.mu.Lock()
	silent := n.silent
	n.mu.Unlock()
	if silent != nil {
		n.held <- struct{}{}
		<-silent
	}
}

func (g *grid) apart(a, b string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cut[[2]string{a, b}]
}

// hangUp closes connections across a cut.
func (n *node) hangUp() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c, to := range n.open {
		if n.grid.apart(n.id, to) {
			_ = c.Close()
			delete(n.open, c)
		}
	}
}

func (n *node) Self() string { return n.id }

func (n *node) Members() []string {
	n.grid.mu.Lock()
	defer n.grid.mu.Unlock()
	return slices.Clone(n.grid.members)
}

func (n *node) Reachable(id string) bool { return !n.grid.apart(n.id, id) }

func (n *node) Quorum() bool {
	up := 0
	members := n.Members()
	for _, id := range members {
		if id == n.id || n.Reachable(id) {
			up++
		}
	}
	return 2*up > len(members)
}

func (n *node) Changed() <-chan struct{} {
	n.grid.mu.Lock()
	defer n.grid.mu.Unlock()
	return n.grid.changed
}

func (n *node) Conn(id string) (*grpc.ClientConn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := n.conns[id]; c != nil {
		return c, nil
	}
	at := slices.IndexFunc(n.grid.nodes, func(o *node) bool { return o.id == id })
	c, err := grpc.NewClient("passthrough:///"+id, append(DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			if n.grid.apart(n.id, id) {
				return nil, errors.New("no way there")
			}
			c, err := n.grid.nodes[at].lis.DialContext(ctx)
			if err == nil {
				n.mu.Lock()
				n.open[c] = id
				n.mu.Unlock()
			}
			return c, err
		}))...)
	if err == nil {
		n.conns[id] = c
	}
	return c, err
}

// holders are the nodes whose own store has a blob.
func (g *grid) holders(d digest.Digest) (ids []string) {
	g.t.Helper()
	for _, n := range g.nodes {
		missing, err := n.store.FindMissing(context.Background(), []digest.Digest{d})
		if err != nil {
			g.t.Fatal(err)
		}
		if len(missing) == 0 {
			ids = append(ids, n.id)
		}
	}
	return ids
}

// node finds a node by what it is for a blob: its position in the blob's order
// among all members.
func (g *grid) rank(d digest.Digest, position int) *node {
	v := g.nodes[0].blobs.view.Load()
	whole := *v
	whole.up = one(len(v.members)) - 1
	id := v.members[whole.order(&d, nil)[position]].id
	return g.nodes[slices.IndexFunc(g.nodes, func(n *node) bool { return n.id == id })]
}

// put stores blobs through a node.
func (n *node) put(t testing.TB, blobs ...cas.Blob) {
	t.Helper()
	for _, err := range n.blobs.PutMany(context.Background(), cas.Upload, blobs) {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// blob is content that no other seed has.
func blob(size int, seed uint64) cas.Blob {
	data := make([]byte, size)
	x := seed*0x9e3779b97f4a7c15 + 1
	for i := 0; i+8 <= size; i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(data[i:], x)
	}
	if size < 8 {
		copy(data, fmt.Sprint(seed))
	}
	return cas.Blob{Digest: digest.Of(digest.SHA256, data), Data: data}
}

func blobs(n, size int, seed uint64) (list []cas.Blob) {
	for i := range n {
		list = append(list, blob(size, seed<<32+uint64(i)))
	}
	return list
}

func digests(list []cas.Blob) (ds []digest.Digest) {
	for _, b := range list {
		ds = append(ds, b.Digest)
	}
	return ds
}

// rest waits until nothing is being repaired.
func (b *Blobs) rest() {
	for range repairSlots {
		b.repairs <- struct{}{}
	}
	for range repairSlots {
		<-b.repairs
	}
}

// rot changes a byte of a blob's content in the files of a node's own store.
func (n *node) rot(t *testing.T, b cas.Blob) {
	t.Helper()
	needle, changed := b.Data[100_000:100_064], false
	err := filepath.WalkDir(n.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() != "DATA" {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		at := bytes.Index(content, needle)
		if at < 0 {
			return nil
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte{needle[0] ^ 1}, int64(at))
		changed = true
		return errors.Join(err, f.Close())
	})
	if err != nil || !changed {
		t.Fatalf("the content is not found, %v", err)
	}
}
