package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"

	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/raftfsm/invariants"
	"github.com/bgrid-node/bgrid-node/store/actioncache"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// run starts all members at about the same time, while things go wrong already,
// heals everything in the end, and looks at what came of it.
func (f *fleet) run() error {
	limit, cancel := context.WithTimeout(context.Background(), f.o.faults+pace)
	defer cancel()
	working, stop := context.WithTimeout(limit, f.o.faults+5*time.Second)
	defer stop()
	var clients sync.WaitGroup
	for i := range f.o.clients {
		clients.Go(func() { f.client(working, i) })
	}
	f.misfortune(working)
	f.net.heal()
	clients.Wait()
	if err := f.becomesWhole(limit); err != nil {
		f.fail("the members do not become one cluster: %w", err)
	} else {
		f.compare(limit)
	}
	_, err := f.groups.Check(invariants.Limits{})
	f.note(err)
	f.note(f.acks.Err())
	for _, m := range f.members {
		f.note(m.stop(false))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.broken...)
}

func (f *fleet) compare(ctx context.Context) {
	var first invariants.State
	for i, m := range f.members {
		p := m.running()
		f.note(invariants.Check(ctx, p.queue, p.cache, invariants.Limits{}))
		state, err := invariants.StateOf(ctx, p.queue, p.cache)
		f.note(err)
		if i == 0 {
			first = state
		}
		if state.Index() != first.Index() {
			f.fail("member %s is at %d, %s at %d", m.id, state.Index(), f.members[0].id, first.Index())
		}
		f.note(invariants.Compare(m.id, state, f.members[0].id, first))
		f.note(f.acks.Verify(ctx, m.id, p.queue, p.cache))
	}
}

// misfortune starts the members one after the other, then cuts, stops and wipes
// them.
func (f *fleet) misfortune(ctx context.Context) {
	rng := rand.New(rand.NewPCG(f.o.seed, 2))
	var starts sync.WaitGroup
	for _, m := range f.members {
		late := some(rng, 4*time.Second)
		starts.Go(func() {
			_ = sleep(ctx, late)
			f.note(m.start())
		})
	}
	f.cuts(ctx, rng, 4*time.Second) // the cluster forms meanwhile
	starts.Wait()
	end := time.Now().Add(f.o.faults)
	for time.Now().Before(end) {
		switch rng.IntN(5) {
		case 0:
			f.restart(ctx, rng)
		case 1:
			f.wipe(ctx, rng)
		default:
			f.cuts(ctx, rng, 6*time.Second)
		}
		_ = sleep(ctx, some(rng, 2*time.Second))
	}
}

// cuts parts one member from the others, or one direction between two, for a while.
func (f *fleet) cuts(ctx context.Context, rng *rand.Rand, most time.Duration) {
	order := rng.Perm(len(f.members))
	one := f.members[order[0]].id
	links := []link{{one, f.members[order[1]].id}}
	if rng.IntN(3) > 0 {
		for _, other := range order[1:] {
			links = append(links, both(one, f.members[other].id)...)
		}
	}
	f.net.cut(true, links...)
	_ = sleep(ctx, some(rng, most))
	f.net.cut(false, links...)
}

func (f *fleet) restart(ctx context.Context, rng *rand.Rand) {
	m := f.members[rng.IntN(len(f.members))]
	f.note(m.stop(false))
	_ = sleep(ctx, some(rng, 4*time.Second))
	f.note(m.start())
}

// wipe takes a member's disk, when all others have theirs and know all.
func (f *fleet) wipe(ctx context.Context, rng *rand.Rand) {
	limit, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if f.becomesWhole(limit) != nil {
		return
	}
	f.count(&f.wipes)
	m := f.members[rng.IntN(len(f.members))]
	f.note(m.stop(true))
	_ = sleep(ctx, some(rng, 2*time.Second))
	f.note(m.start())
	if rng.IntN(2) == 0 {
		f.cuts(ctx, rng, 4*time.Second) // while it joins
	}
	for f.becomesWhole(ctx) != nil && ctx.Err() == nil {
	}
}

// client writes and reads results of its own through any member.
func (f *fleet) client(ctx context.Context, i int) {
	rng := rand.New(rand.NewPCG(f.o.seed, 200+uint64(i)))
	k := &register{action: digest.Of(digest.SHA256, fmt.Appendf(nil, "key of client %d", i)), unknown: map[int]bool{}}
	for ctx.Err() == nil {
		if p := f.members[rng.IntN(len(f.members))].running(); p != nil {
			call, cancel := context.WithTimeout(ctx, 5*time.Second)
			if rng.IntN(2) == 0 {
				f.put(call, p, k)
			} else {
				f.read(call, p, k)
			}
			cancel()
		}
		_ = sleep(ctx, some(rng, 400*time.Millisecond))
	}
}

func (f *fleet) put(ctx context.Context, p *process, k *register) {
	k.tried++
	number := k.tried
	result, err := proto.Marshal(&repb.ActionResult{StdoutRaw: fmt.Append(nil, number)})
	f.note(err)
	out, err := p.Proposer().Propose(ctx, raftfsm.ActionCachePut(&commandpb.ActionCachePut{
		Instance: instance, Action: queue.DigestProto(k.action), Result: &commandpb.ActionCachePut_ActionResult{ActionResult: result},
	}))
	if err != nil {
		k.unknown[number] = true
		return
	}
	f.count(&f.puts)
	k.sure = number
	f.acks.Result(instance, k.action, out.Index, result)
}

func (f *fleet) read(ctx context.Context, p *process, k *register) {
	if !f.staleReads && p.ReadBarrier(ctx) != nil {
		return
	}
	found := 0
	r, err := p.cache.Get(ctx, instance, k.action)
	if err == nil {
		_, err = fmt.Sscan(string(r.StdoutRaw), &found)
		f.note(err)
	} else if !errors.Is(err, actioncache.ErrNotFound) {
		return // it was stopped
	}
	f.count(&f.reads)
	if found != k.sure && !k.unknown[found] {
		f.fail("at %s a client reads result %d through %s, at index %d; %d was the last, and of %v nobody knows",
			clock(time.Now()), found, p.Self(), p.cache.AppliedIndex(), k.sure, k.unknown)
	}
	k.sure = found
	delete(k.unknown, found)
}
