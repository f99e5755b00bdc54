package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"
)

// misfortune lets things go wrong for a while, two at a time, and mends them.
func (w *world) misfortune(d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	if w.plant.misfortune != nil {
		w.plant.misfortune(ctx, w)
		<-ctx.Done()
		return
	}
	// The clocks differ from the beginning on.
	for i, n := range w.nodes {
		n.skew.Store(int64(some(rand.New(rand.NewPCG(w.o.seed, 10+uint64(i))), time.Minute)))
	}
	faults := []func(context.Context, *rand.Rand){
		w.partition, w.partition, w.oneWay, w.isolateLeader, w.crashOne, w.crashOne, w.crashLeader, w.crashLeader, w.loseDisk,
		w.slowNode, w.slowNetwork, w.lossy, w.awayBot, w.handOver, w.crashAll, w.wrongClock, w.fullDisk,
	}
	var loops sync.WaitGroup
	for i := range uint64(2) {
		rng := rand.New(rand.NewPCG(w.o.seed, 2+i))
		loops.Go(func() {
			for ctx.Err() == nil {
				_ = sleep(ctx, some(rng, 4*time.Second))
				faults[rng.IntN(len(faults))](ctx, rng)
			}
		})
	}
	loops.Wait()
}

// some returns a random time up to most.
func some(rng *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(most)))
}

func (w *world) during(ctx context.Context, d time.Duration, links []link) {
	w.count(&w.stats.cuts)
	w.net.cut(true, links...)
	_ = sleep(ctx, d)
	w.net.cut(false, links...)
}

// partition splits the nodes in two, in both directions or in one.
func (w *world) partition(ctx context.Context, rng *rand.Rand) {
	var links []link
	order := rng.Perm(len(w.nodes))
	size := 1 + rng.IntN(len(w.nodes)/2)
	oneWay := rng.IntN(3) == 0
	for _, a := range order[:size] {
		for _, b := range order[size:] {
			cut := both(w.nodes[a].id, w.nodes[b].id)
			if oneWay {
				cut = cut[:1]
			}
			links = append(links, cut...)
		}
	}
	w.during(ctx, some(rng, 6*time.Second), links)
}

// oneWay cuts one direction between two nodes.
func (w *world) oneWay(ctx context.Context, rng *rand.Rand) {
	order := rng.Perm(len(w.nodes))
	w.during(ctx, some(rng, 6*time.Second), []link{{w.nodes[order[0]].id, w.nodes[order[1]].id}})
}

// isolateLeader cuts the leader off from all other nodes, not from its clients.
func (w *world) isolateLeader(ctx context.Context, rng *rand.Rand) {
	l := w.leading()
	if l == nil {
		return
	}
	var links []link
	for _, n := range w.nodes {
		if n != l.n {
			links = append(links, both(n.id, l.n.id)...)
		}
	}
	w.during(ctx, some(rng, 4*time.Second), links)
}

// awayBot cuts a worker off from all nodes: often for less than its expiry.
func (w *world) awayBot(ctx context.Context, rng *rand.Rand) { w.cutBot(ctx, rng, some(rng, 2*expiry)) }

func (w *world) cutBot(ctx context.Context, rng *rand.Rand, d time.Duration) {
	bot := fmt.Sprint("bot", rng.IntN(w.o.bots))
	var links []link
	for _, n := range w.nodes {
		links = append(links, both(n.id, bot)...)
	}
	w.during(ctx, d, links)
}

func (w *world) crashOne(ctx context.Context, rng *rand.Rand) {
	w.crash(ctx, rng, w.nodes[rng.IntN(len(w.nodes))])
}

func (w *world) crashLeader(ctx context.Context, rng *rand.Rand) {
	if l := w.leading(); l != nil {
		w.crash(ctx, rng, l.n)
	}
}

// crash stops a node and starts it again after a while.
func (w *world) crash(ctx context.Context, rng *rand.Rand, n *node) {
	if !n.machine.TryLock() { // it lies on the operating table
		return
	}
	defer n.machine.Unlock()
	w.count(&w.stats.crashes)
	dir, err := n.crash(rng.IntN(3) == 0)
	w.note(err)
	_ = sleep(ctx, some(rng, 5*time.Second))
	w.note(n.start(dir, true))
}

// crashAll stops all nodes at about the same time.
func (w *world) crashAll(ctx context.Context, rng *rand.Rand) {
	dirs := map[*node]string{}
	for _, n := range w.nodes {
		if !n.machine.TryLock() {
			continue
		}
		defer n.machine.Unlock()
		w.count(&w.stats.crashes)
		dir, err := n.crash(rng.IntN(3) == 0)
		w.note(err)
		dirs[n] = dir
	}
	for _, n := range w.nodes {
		if dir := dirs[n]; dir != "" {
			_ = sleep(ctx, some(rng, time.Second))
			w.note(n.start(dir, true))
		}
	}
}

// slowNode makes the disk of a node slow.
func (w *world) slowNode(ctx context.Context, rng *rand.Rand) {
	n := w.nodes[rng.IntN(len(w.nodes))]
	n.applying.Store(int64(some(rng, 400*time.Millisecond)) + 1)
	_ = sleep(ctx, some(rng, 8*time.Second))
	n.applying.Store(0)
}

// slowNetwork makes all messages of a node late.
func (w *world) slowNetwork(ctx context.Context, rng *rand.Rand) {
	n := w.nodes[rng.IntN(len(w.nodes))]
	w.net.slowDown(n.id, some(rng, 150*time.Millisecond))
	_ = sleep(ctx, some(rng, 6*time.Second))
	w.net.slowDown(n.id, 0)
}

// wrongClock sets the clock of a node to another time, from where it runs on.
func (w *world) wrongClock(_ context.Context, rng *rand.Rand) {
	w.count(&w.stats.clocks)
	w.nodes[rng.IntN(len(w.nodes))].skew.Store(int64(some(rng, 4*time.Hour) - 2*time.Hour))
}

// fullDisk has the action cache of a node take nothing.
func (w *world) fullDisk(ctx context.Context, rng *rand.Rand) {
	n := w.nodes[rng.IntN(len(w.nodes))]
	w.count(&w.stats.fullDisks)
	n.diskFull.Store(true)
	_ = sleep(ctx, some(rng, 6*time.Second))
	n.diskFull.Store(false)
}

// lossy loses some of all messages.
func (w *world) lossy(ctx context.Context, rng *rand.Rand) {
	w.net.lose(0.05 * rng.Float64())
	_ = sleep(ctx, some(rng, 5*time.Second))
	w.net.lose(0)
}

// handOver moves leadership as an operator does.
func (w *world) handOver(ctx context.Context, _ *rand.Rand) {
	if l := w.leading(); l != nil {
		w.count(&w.stats.transfers)
		limit, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if err := l.raft.Transfer(limit); err != nil {
			w.log.Info("no transfer", "error", err)
		}
	}
}

// loseDisk takes a node's disk away. The node is removed and joins as a new one,
// under its name. One at a time: a majority always has its disks.
func (w *world) loseDisk(_ context.Context, rng *rand.Rand) {
	n := w.nodes[rng.IntN(len(w.nodes))]
	if !w.disks.TryLock() {
		return
	}
	defer w.disks.Unlock()
	if !n.machine.TryLock() {
		return
	}
	defer n.machine.Unlock()
	w.count(&w.stats.lostDisks)
	_, err := n.crash(false)
	w.note(err)
	w.replace(n)
}

// replace starts a node without any state, once it was removed.
func (w *world) replace(n *node) {
	blank := filepath.Join(w.dir, fmt.Sprintf("%s-%d-blank", n.id, n.lives))
	n.origin = ""
	ctx, cancel := context.WithTimeout(context.Background(), pace)
	defer cancel()
	if w.plant.blankVotes {
		w.note(n.start(blank, true))
		return
	}
	w.ask(ctx, func(l *life) error { return l.raft.Remove(ctx, n.id) })
	w.note(n.start(blank, true))
	w.ask(ctx, func(l *life) error { return l.raft.AddNonvoter(ctx, n.id, n.id) })
	w.ask(ctx, func(l *life) error {
		index, err := l.raft.ReadIndex(ctx)
		if err != nil {
			return err
		}
		wait, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return n.running().raft.WaitApplied(wait, index)
	})
	w.ask(ctx, func(l *life) error { return l.raft.AddVoter(ctx, n.id, n.id) })
}

// ask has the leader do something, whoever that is, until it is done.
func (w *world) ask(ctx context.Context, do func(*life) error) {
	for ctx.Err() == nil {
		if l := w.leading(); l != nil && do(l) == nil {
			return
		}
		_ = sleep(ctx, 100*time.Millisecond)
	}
	w.fail("membership could not be changed within %s", pace)
}
