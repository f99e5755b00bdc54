package sched

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/rpc/code"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"

	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// memCache is an action cache in memory that outlives restarts.
type memCache struct {
	mu      sync.Mutex
	index   uint64
	entries map[digest.Digest][]byte
	puts    map[digest.Digest]int
}

func (c *memCache) Apply(index uint64, ws []queue.ActionCacheWrite) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index = index
	for _, w := range ws {
		c.entries[w.Action] = w.Result
		c.puts[w.Action]++
	}
	return nil
}

func (c *memCache) AppliedIndex() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.index
}

func (c *memCache) has(d digest.Digest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.puts[d] > 0
}

// memBlobs is a CAS in memory.
type memBlobs struct {
	mu   sync.Mutex
	data map[digest.Digest][]byte
}

func (b *memBlobs) Get(_ context.Context, d digest.Digest) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if data, ok := b.data[d]; ok {
		return data, nil
	}
	return nil, cas.ErrNotFound
}

func (b *memBlobs) PutMany(_ context.Context, _ cas.Class, blobs []cas.Blob) []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range blobs {
		b.data[x.Digest] = x.Data
	}
	return make([]error, len(blobs))
}

// spy is the proposer with a count, and a switch.
type spy struct {
	*raftfsm.Local
	mu       sync.Mutex
	commands [][]*commandpb.Entry
	fail     error
}

func (p *spy) Propose(ctx context.Context, entries ...*commandpb.Entry) (raftfsm.Result, error) {
	p.mu.Lock()
	p.commands = append(p.commands, entries)
	fail := p.fail
	p.mu.Unlock()
	if fail != nil {
		return raftfsm.Result{}, fmt.Errorf("%w: %w", raftfsm.ErrNotProposed, fail)
	}
	return p.Local.Propose(ctx, entries...)
}

func (p *spy) failWith(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = err
}

func (p *spy) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.commands)
}

// last returns the kinds of the entries of the last command.
func (p *spy) last() (kinds []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.commands[len(p.commands)-1] {
		kinds = append(kinds, fmt.Sprintf("%T", e.Entry)[len("*commandpb.Entry_"):])
	}
	return kinds
}

// grid is a scheduler on real stores, which may be restarted on the same ones.
type grid struct {
	*Scheduler
	t      testing.TB
	dir    string
	change func(*Options)
	cache  *memCache
	blobs  *memBlobs
	store  *queue.Store
	log    *spy
}

const instance = "main"

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// newGrid starts a scheduler; change may be nil. Close it at the end: a synctest
// bubble ends before the test's cleanups do.
func newGrid(t testing.TB, dir string, change func(*Options)) *grid {
	t.Helper()
	g := &grid{
		t: t, dir: dir, change: change,
		cache: &memCache{entries: map[digest.Digest][]byte{}, puts: map[digest.Digest]int{}},
		blobs: &memBlobs{data: map[digest.Digest][]byte{}},
	}
	g.start()
	return g
}

func (g *grid) start() {
	g.t.Helper()
	ctx := context.Background()
	var err error
	if g.store, err = queue.Open(ctx, queue.Options{Path: filepath.Join(g.dir, "queue.db"), Logger: quiet()}); err != nil {
		g.t.Fatal(err)
	}
	var s *Scheduler
	local, err := raftfsm.OpenLocal(ctx, raftfsm.LocalOptions{
		Queue: g.store, ActionCache: g.cache, Logger: quiet(),
		Observer: func(index uint64, events []queue.Event) { s.Observe(index, events) },
	})
	if err != nil {
		g.t.Fatal(err)
	}
	g.log = &spy{Local: local}
	o := Options{Proposer: g.log, Queue: g.store, Blobs: g.blobs, NodeID: "n1", Logger: quiet()}
	if g.change != nil {
		g.change(&o)
	}
	if s, err = New(o); err != nil {
		g.t.Fatal(err)
	}
	g.Scheduler = s
	if err := s.Start(ctx); err != nil {
		g.t.Fatal(err)
	}
}

// close ends it all, and proves the rules of the store.
func (g *grid) close() {
	g.t.Helper()
	g.Stop()
	if err := g.store.Check(context.Background()); err != nil {
		g.t.Error(err)
	}
	if err := errors.Join(g.log.Close(), g.store.Close()); err != nil {
		g.t.Error(err)
	}
}

func (g *grid) restart() {
	g.t.Helper()
	g.close()
	g.start()
}

// inBubble runs a test in virtual time on a grid of its own.
func inBubble(t *testing.T, change func(*Options), test func(t *testing.T, g *grid)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t, dir, change)
		defer g.close()
		test(t, g)
	})
}

var linux = []queue.Property{{Name: "OSFamily", Value: "linux"}}

func action(name string) digest.Digest { return digest.Of(digest.SHA256, []byte(name)) }

// sub returns a submission of an action of that name, for a linux worker.
func sub(name string) Submission {
	return Submission{Instance: instance, Action: action(name), Command: "run " + name, Matched: linux, Client: "c"}
}

func of(invocation, name string) Submission {
	x := sub(name)
	x.RequestMetadata = &repb.RequestMetadata{ToolInvocationId: invocation}
	return x
}

func (g *grid) submit(x Submission) string {
	g.t.Helper()
	name, err := g.Submit(context.Background(), x)
	if err != nil {
		g.t.Fatal(err)
	}
	return name
}

// bot opens a session of a linux worker.
func (g *grid) bot(id string, capacity int, more ...queue.Property) *Session {
	g.t.Helper()
	return g.open(Bot{Instance: instance, BotID: id, Capacity: capacity, Properties: append(more, linux...)})
}

func (g *grid) open(b Bot) *Session {
	g.t.Helper()
	ses, err := g.OpenSession(context.Background(), b)
	if err != nil {
		g.t.Fatal(err)
	}
	return ses
}

// next returns the next event; it must come within a minute.
func (g *grid) next(ses *Session) Event {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	e, err := ses.Next(ctx)
	if err != nil {
		g.t.Fatalf("next event of %s: %v", ses.row.BotID, err)
	}
	return e
}

// lease returns the next event, which must be an assignment.
func (g *grid) lease(ses *Session) *Lease {
	g.t.Helper()
	e := g.next(ses)
	if e.Assigned == nil {
		g.t.Fatalf("next event of %s is %+v, want an assignment", ses.row.BotID, e)
	}
	return e.Assigned
}

// idle proves that no event waits for the session.
func (g *grid) idle(ses *Session) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if e, err := ses.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		g.t.Fatalf("next event of %s is %+v, %v; want none", ses.row.BotID, e, err)
	}
}

func (g *grid) complete(ses *Session, l *Lease, status code.Code, result *repb.ActionResult) {
	g.t.Helper()
	c := Completion{JobID: l.Job.ID, Attempt: l.Attempt, Result: result}
	if status != code.Code_OK {
		c.Status = &statuspb.Status{Code: int32(status), Message: "told by " + ses.row.BotID}
	}
	if err := ses.Complete(context.Background(), c); err != nil {
		g.t.Fatal(err)
	}
}

// done completes a lease with success.
func (g *grid) done(ses *Session, l *Lease) {
	g.t.Helper()
	g.complete(ses, l, code.Code_OK, &repb.ActionResult{StdoutRaw: []byte(l.Job.Command)})
}

func (g *grid) get(name string) *State {
	g.t.Helper()
	st, err := g.Get(context.Background(), name)
	if err != nil {
		g.t.Fatalf("get %s: %v", name, err)
	}
	return st
}

// fastDir is a directory where a sync costs nothing, for tests of many commits
// that prove nothing about disks.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "sched")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
