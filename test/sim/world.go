package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/bgrid-node/bgrid-node/raftfsm/invariants"
)

// What all grids here are set to.
const (
	instance    = "main"
	expiry      = 8 * time.Second // of a worker's silence
	maxFailures = 1000
	maxLosses   = 1000
)

// options of a run.
type options struct {
	seed          uint64
	nodes         int           // 3 or 5
	faults        time.Duration // how long faults go on
	clients, bots int
	snapshotEvery uint64 // entries
	verbose       bool
}

// world is one run: a grid, those who use it, and what goes wrong.
type world struct {
	o     options
	plant plant
	dir   string
	log   *slog.Logger
	net   *network
	blobs *blobs
	nodes []*node
	disks sync.Mutex // held while one is lost and not made up for

	groups *invariants.Groups
	acks   *invariants.Acknowledged
	runs   executions
	stats  stats

	began time.Time

	rngMu sync.Mutex
	rng   *rand.Rand

	failMu sync.Mutex
	broken []error
}

// stats count what happened, to tell a run that proves something from one that
// does not.
type stats struct {
	terms, crashes, powerCuts, lostDisks, cuts, transfers, installs, clocks, fullDisks atomic.Int64
	submitted, done, cancelled, executions, puts, reads                                atomic.Int64
}

func (w *world) count(what *atomic.Int64) { what.Add(1) }

func (s *stats) String() string {
	return fmt.Sprintf("%d terms, %d crashes (%d with power), %d disks lost, %d full, %d cuts, %d hand-overs, %d clocks set, %d states sent; "+
		"%d operations, %d cancelled, %d executions, %d puts, %d reads",
		s.terms.Load(), s.crashes.Load(), s.powerCuts.Load(), s.lostDisks.Load(), s.fullDisks.Load(), s.cuts.Load(), s.transfers.Load(),
		s.clocks.Load(), s.installs.Load(),
		s.submitted.Load(), s.cancelled.Load(), s.executions.Load(), s.puts.Load(), s.reads.Load())
}

// newWorld starts a grid in an empty directory. It must be called in a bubble.
func newWorld(dir string, o options, p plant) (*world, error) {
	w := &world{
		o: o, plant: p, dir: dir, log: slog.New(slog.DiscardHandler), blobs: newBlobs(),
		groups: invariants.NewGroups(), acks: invariants.NewAcknowledged(),
		began: time.Now(), rng: rand.New(rand.NewPCG(o.seed, 0)),
	}
	if o.verbose {
		w.log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	w.net = newNetwork(rand.New(rand.NewPCG(o.seed, 1)))
	var servers []raft.Server
	for i := range o.nodes {
		n := &node{w: w, id: fmt.Sprint("n", i)}
		w.nodes = append(w.nodes, n)
		servers = append(servers, n.server())
	}
	for _, n := range w.nodes {
		if err := n.start(filepath.Join(dir, n.id+"-0"), true); err != nil {
			return nil, fmt.Errorf("start %s: %w", n.id, err)
		}
	}
	if err := w.nodes[0].running().raft.Bootstrap(servers); err != nil {
		return nil, err
	}
	w.nodes[0].markerAt = w.nodes[0].running().raft.Status().Snapshot
	return w, nil
}

// draw returns a random number below n.
func (w *world) draw(n int64) int64 {
	w.rngMu.Lock()
	defer w.rngMu.Unlock()
	return w.rng.Int64N(max(n, 1))
}

// fail notes that something is as it must not be.
func (w *world) fail(format string, args ...any) {
	w.failMu.Lock()
	defer w.failMu.Unlock()
	if len(w.broken) < 20 {
		w.broken = append(w.broken, fmt.Errorf(format, args...))
	}
}

func (w *world) failed() error {
	w.failMu.Lock()
	defer w.failMu.Unlock()
	return errors.Join(w.broken...)
}

// pace is the time that a grid may take to settle after all faults have ended.
const pace = 10 * time.Minute

// run lets clients and workers work while things go wrong, heals everything, and
// waits until all is done. The error is what is broken.
func (w *world) run() error {
	working, stopBots := context.WithCancel(context.Background())
	defer stopBots()
	limit, cancel := context.WithTimeout(context.Background(), w.o.faults+pace)
	defer cancel()
	if _, err := w.quiesce(limit); err != nil {
		w.fail("the grid does not form: %w", err)
		return w.failed()
	}
	var clients, bots sync.WaitGroup
	for i := range w.o.bots {
		b := newBot(w, i)
		bots.Go(func() { b.work(working) })
	}
	for i := range w.o.clients {
		c := newClient(w, i)
		clients.Go(func() { c.work(limit) })
	}
	w.misfortune(w.o.faults)
	w.net.heal()
	clients.Wait()
	if limit.Err() != nil {
		w.fail("not all was done %s after the last fault", pace)
	}
	w.finish(limit)
	stopBots()
	bots.Wait()
	w.settle(limit)
	w.stop()
	return w.failed()
}

// settle proves what must hold once everything is done.
func (w *world) settle(ctx context.Context) {
	leader, err := w.quiesce(ctx)
	if err != nil {
		w.fail("the grid does not come to rest: %w", err)
		return
	}
	limits := invariants.Limits{Failures: maxFailures, Losses: maxLosses}
	ledger, err := w.groups.Check(limits)
	w.note(err)
	w.note(w.acks.Err())
	w.runs.check(w, ledger)
	first, err := leader.state(ctx)
	w.note(err)
	for _, n := range w.nodes {
		l := n.running()
		if l == nil {
			w.fail("node %s does not run", n.id)
			continue
		}
		w.note(invariants.Check(ctx, l.queue, l.cache, limits))
		state, err := l.state(ctx)
		w.note(err)
		if state.QueueIndex != first.QueueIndex || state.CacheIndex != first.CacheIndex {
			w.fail("node %s is at %d and %d, %s at %d and %d", n.id, state.QueueIndex, state.CacheIndex, leader.n.id, first.QueueIndex, first.CacheIndex)
		}
		w.note(invariants.Compare(n.id, state, leader.n.id, first))
		w.note(w.acks.Verify(ctx, n.id, l.queue, l.cache))
	}
}

func (w *world) note(err error) {
	if err != nil {
		w.fail("%w", err)
	}
}

// finish waits until no job is left. Jobs may be that no client waits for.
func (w *world) finish(ctx context.Context) {
	for ctx.Err() == nil {
		if l := w.leading(); l != nil {
			if jobs, _, err := l.queue.Unfinished(ctx); err == nil && len(jobs) == 0 {
				return
			}
		}
		_ = sleep(ctx, 100*time.Millisecond)
	}
	w.fail("jobs are left %s after the last fault", pace)
}

// quiesce waits until no session is left of the workers that have stopped and
// every node has applied all that is committed, and returns the leader. Nothing
// is committed from then on.
func (w *world) quiesce(ctx context.Context) (*life, error) {
	for ctx.Err() == nil {
		if l := w.leading(); l != nil {
			sessions, err := l.queue.Sessions(ctx)
			if err == nil && len(sessions) == 0 && l.raft.Barrier(ctx) == nil && w.caughtUp(ctx, l) {
				return l, nil
			}
		}
		_ = sleep(ctx, 100*time.Millisecond)
	}
	return nil, ctx.Err()
}

func (w *world) leading() *life {
	for _, n := range w.nodes {
		if l := n.running(); l != nil && l.term.Load() != nil && l.raft.IsLeader() {
			return l
		}
	}
	return nil
}

// caughtUp waits for all nodes.
func (w *world) caughtUp(ctx context.Context, leader *life) bool {
	index, err := leader.raft.ReadIndex(ctx)
	if err != nil {
		return false
	}
	for _, n := range w.nodes {
		wait, cancel := context.WithTimeout(ctx, 20*time.Second)
		l := n.running()
		ok := l != nil && l.raft.WaitApplied(wait, index) == nil
		cancel()
		if !ok {
			return false
		}
	}
	return true
}

// stop ends all lives.
func (w *world) stop() {
	for _, n := range w.nodes {
		n.mu.Lock()
		l := n.life
		n.life = nil
		n.mu.Unlock()
		if l == nil {
			continue
		}
		l.cancel()
		l.ended.Wait()
		w.note(errors.Join(l.raft.Close(), l.cache.Close(), l.queue.Close()))
	}
}
