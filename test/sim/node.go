package sim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/raftfsm/invariants"
	"github.com/bgrid-node/bgrid-node/store/actioncache"
	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// node is one member. Its machine may crash, and may lose its disk.
type node struct {
	w  *world
	id string

	lives    int    // directories that it had
	origin   string // a closed directory with what this life began with; "": nothing
	markerAt uint64 // the Raft index of the marker that this life began with

	machine sync.Mutex // held while it is down, by who will start it again

	mu   sync.Mutex
	life *life // nil while it is down

	applying atomic.Int64 // a delay of each apply at most, in nanoseconds
	skew     atomic.Int64 // of its clock, in nanoseconds
	diskFull atomic.Bool  // its action cache takes nothing
}

// life is a node from start to crash.
type life struct {
	n         *node
	dir       string
	ctx       context.Context //nolint:containedctx // ends with the life
	cancel    context.CancelFunc
	queue     *queue.Store
	cache     *actioncache.Store
	raft      *raftfsm.Raft
	transport *transport
	scheduler atomic.Pointer[observer]
	term      atomic.Pointer[term]
	ended     sync.WaitGroup
}

// running returns the current life, or nil.
func (n *node) running() *life {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.life
}

// start begins a life in a directory; reachable: others can call it at once.
func (n *node) start(dir string, reachable bool) (err error) {
	l := &life{n: n, dir: dir, transport: newTransport(n.w.net, n.id)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if l.queue, err = queue.Open(l.ctx, queue.Options{Path: filepath.Join(dir, "queue"), LazySync: true, Logger: n.w.log}); err != nil {
		return err
	}
	l.cache, err = actioncache.Open(l.ctx, actioncache.Options{Dir: filepath.Join(dir, "cache"), Blobs: n.w.blobs, MemoBytes: 1 << 20, Logger: n.w.log})
	if err != nil {
		return errors.Join(err, l.queue.Close())
	}
	n.w.groups.Restarted(n.id)
	if l.raft, err = raftfsm.OpenRaft(l.ctx, n.w.raftOptions(l)); err != nil {
		return errors.Join(err, l.cache.Close(), l.queue.Close())
	}
	n.markerAt = l.raft.Status().Snapshot
	n.mu.Lock()
	n.life = l
	n.mu.Unlock()
	if reachable {
		n.w.net.attach(n.id, l.transport)
	}
	l.ended.Go(l.terms)
	l.ended.Go(l.watchFailure)
	return nil
}

// raftOptions are those of a life.
func (w *world) raftOptions(l *life) raftfsm.RaftOptions {
	var cache raftfsm.ReplicatedCache = fullCache{raftfsm.CacheOf(l.cache), l.n}
	if w.plant.cache != nil {
		cache = w.plant.cache(l.n, cache)
	}
	return raftfsm.RaftOptions{
		Queue: l.queue, ActionCache: cache, Logger: w.log, Observer: l.observe, SyncBlobs: l.syncBlobs,
		Replaced: func(uint64) { w.count(&w.stats.installs) },
		Dir:      filepath.Join(l.dir, "raft"), NodeID: l.n.id, Transport: l.transport,
		SnapshotEvery: w.o.snapshotEvery, TrailingLogs: w.o.snapshotEvery / 2,
		Now: func() time.Time { return time.Now().Add(time.Duration(l.n.skew.Load())) },
	}
}

// fullCache is an action cache on a disk that is full at times.
type fullCache struct {
	raftfsm.ReplicatedCache
	n *node
}

func (c fullCache) Apply(index uint64, ws []queue.ActionCacheWrite) error {
	if c.n.diskFull.Load() {
		return &cas.FullError{Reason: "it is to be so"}
	}
	return c.ReplicatedCache.Apply(index, ws)
}

// syncBlobs takes long on a slow node.
func (l *life) syncBlobs(ctx context.Context) error {
	if d := l.n.applying.Load(); d > 0 {
		return sleep(ctx, time.Duration(l.n.w.draw(d)))
	}
	return nil
}

// observe is the raftfsm.Observer.
func (l *life) observe(index uint64, events []queue.Event) {
	l.n.w.groups.Observe(l.n.id, index, events, l.queue.AppliedIndex())
	if s := l.scheduler.Load(); s != nil {
		s.Observe(index, events)
	}
}

// watchFailure reports a machine that stopped for good: here nothing may do that.
func (l *life) watchFailure() {
	select {
	case <-l.raft.Failed():
		l.n.w.fail("node %s stopped for good: %v", l.n.id, l.raft.Err())
	case <-l.ctx.Done():
	}
}

// crash ends a life abruptly, and returns a directory with what it left: what a
// killed process would have or, if power is lost besides, what was synced.
func (n *node) crash(power bool) (dir string, err error) {
	n.mu.Lock()
	l := n.life
	n.life = nil
	n.mu.Unlock()
	l.cancel()
	_ = l.transport.Close()
	l.ended.Wait()
	marker := l.raft.Status().Snapshot
	err = l.raft.Close() // nothing is written from here on
	n.lives++
	dir = filepath.Join(n.w.dir, fmt.Sprintf("%s-%d", n.id, n.lives))
	err = errors.Join(err, copyTree(l.dir, dir), l.cache.Close(), l.queue.Close())
	if !power || marker != n.markerAt && !n.w.plant.marksUnsynced {
		n.origin = l.dir
		return dir, err
	}
	n.w.count(&n.w.stats.powerCuts)
	return dir, errors.Join(err, n.forgetUnsynced(dir))
}

// forgetUnsynced puts the queue back to where it was at the start of the life that
// left the directory: no marker said since then that it is durable. The log and
// the action cache are synced with each entry.
func (n *node) forgetUnsynced(dir string) error {
	var errs []error
	for _, file := range []string{"queue", "queue-wal", "queue-shm"} {
		path := filepath.Join(dir, file)
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
		if n.origin == "" {
			continue
		}
		if err := copyFile(filepath.Join(n.origin, file), path); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// state reads a node's stores, when nothing is applied.
func (l *life) state(ctx context.Context) (invariants.State, error) {
	return invariants.StateOf(ctx, l.queue, l.cache)
}

// server is the node as a member of the configuration.
func (n *node) server() raft.Server {
	return raft.Server{ID: raft.ServerID(n.id), Address: raft.ServerAddress(n.id)}
}
