package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/actioncache"
	"github.com/bgrid-node/bgrid-node/store/queue"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// TestPlantedBugsAreFound plants one bug at a time. Each must break a rule within
// a few seeds, the one that it is about.
func TestPlantedBugsAreFound(t *testing.T) {
	for _, c := range []struct {
		bug   string
		plant plant
		shows []string // one of them
	}{
		{"a write is acknowledged before it is committed", plant{proposer: hasty, misfortune: lostLeaders},
			[]string{"was acknowledged"}},
		{"the apply of an entry is skipped when the store fails", plant{cache: forgetful}, []string{"the action caches of", "was acknowledged"}},
		{"a new leader does not wait for what was committed before", plant{noBarrier: true, misfortune: slowSuccession}, []string{"no such operation"}},
		{"a new leader takes leases away at once", plant{termBegan: impatient}, []string{"although the first worker was there"}},
		{"a result is taken from whoever brings one", plant{bots: gullible, misfortune: lateWorkers}, []string{"with the result"}},
		{"the order of a map leaks into the state", plant{cache: shuffled}, []string{"the action caches of"}},
		{"the state that is sent lacks the action cache", plant{cache: halfState}, []string{"the action caches of", "was acknowledged"}},
		{"a follower answers without asking the leader", plant{staleReads: true}, []string{"was acknowledged and"}},
		{"a node without its disk votes", plant{blankVotes: true, misfortune: blankMajority}, []string{"differently", "was acknowledged", "no such operation"}},
		{"a worker forgets what was not acknowledged", plant{loseResults: true}, []string{"although the first worker was there"}},
		{"a marker is written before the stores are durable", plant{marksUnsynced: true}, []string{"differently", "differ at index", "lacks operation", "stopped for good", "which was acknowledged"}},
	} {
		t.Run(c.bug, func(t *testing.T) {
			const seeds = 12
			for seed := range uint64(seeds) {
				err := simulate(t, usual(seed+1), c.plant)
				if err == nil {
					continue
				}
				for _, text := range c.shows {
					if strings.Contains(err.Error(), text) {
						t.Logf("found by seed %d: %.300s", seed+1, err)
						return
					}
				}
				t.Logf("seed %d shows something else: %.1000s", seed+1, err)
			}
			t.Errorf("%d seeds did not show it", seeds)
		})
	}
}

// hastyProposer answers before it proposes.
type hastyProposer struct {
	raftfsm.Proposer
	l *life
}

func hasty(l *life, p raftfsm.Proposer) raftfsm.Proposer { return hastyProposer{p, l} }

func (p hastyProposer) Propose(ctx context.Context, entries ...*commandpb.Entry) (raftfsm.Result, error) {
	for _, e := range entries {
		if e.GetActionCachePut() == nil {
			return p.Proposer.Propose(ctx, entries...)
		}
	}
	p.l.ended.Go(func() { _, _ = p.Proposer.Propose(context.WithoutCancel(ctx), entries...) })
	return raftfsm.Result{Index: 256 * p.l.raft.Status().LastLog, Errors: make([]error, len(entries))}, nil
}

// brokenCache does something else than the one in it.
type brokenCache struct {
	raftfsm.ReplicatedCache
	apply  func(c raftfsm.ReplicatedCache, index uint64, ws []queue.ActionCacheWrite) error
	export func(c raftfsm.ReplicatedCache, ctx context.Context, to io.Writer) error
}

func (c brokenCache) Apply(index uint64, ws []queue.ActionCacheWrite) error {
	if c.apply == nil {
		return c.ReplicatedCache.Apply(index, ws)
	}
	return c.apply(c.ReplicatedCache, index, ws)
}

func (c brokenCache) Export(ctx context.Context, to io.Writer) error {
	if c.export == nil {
		return c.ReplicatedCache.Export(ctx, to)
	}
	return c.export(c.ReplicatedCache, ctx, to)
}

// forgetful has one node skip a write now and then.
func forgetful(n *node, c raftfsm.ReplicatedCache) raftfsm.ReplicatedCache {
	return brokenCache{ReplicatedCache: c, apply: func(c raftfsm.ReplicatedCache, index uint64, ws []queue.ActionCacheWrite) error {
		if n.id == "n1" && n.w.draw(10) == 0 {
			return nil
		}
		return c.Apply(index, ws)
	}}
}

// shuffled writes a group in any order.
func shuffled(_ *node, c raftfsm.ReplicatedCache) raftfsm.ReplicatedCache {
	return brokenCache{ReplicatedCache: c, apply: func(c raftfsm.ReplicatedCache, index uint64, ws []queue.ActionCacheWrite) error {
		rand.Shuffle(len(ws), func(i, j int) { ws[i], ws[j] = ws[j], ws[i] })
		return c.Apply(index, ws)
	}}
}

// halfState sends the state of an empty action cache.
func halfState(n *node, c raftfsm.ReplicatedCache) raftfsm.ReplicatedCache {
	return brokenCache{ReplicatedCache: c, export: func(_ raftfsm.ReplicatedCache, ctx context.Context, to io.Writer) error {
		empty, err := actioncache.Open(ctx, actioncache.Options{
			Dir: filepath.Join(n.w.dir, fmt.Sprint("empty-", n.w.draw(1<<62))), Blobs: n.w.blobs, Logger: n.w.log,
		})
		if err != nil {
			return err
		}
		return errors.Join(empty.Apply(c.AppliedIndex(), nil), empty.Export(ctx, to), empty.Close())
	}}
}

// impatient closes the sessions that it finds, half a second after a term began.
func impatient(l *life, t *term) {
	if sleep(t.closing, 500*time.Millisecond) != nil {
		return
	}
	sessions, err := l.queue.Sessions(t.closing)
	if err != nil {
		return
	}
	for _, s := range sessions {
		if s.OpenedAt.Before(time.Now().Add(-time.Second)) {
			_, _ = t.proposer.Propose(t.closing, raftfsm.CloseSession(&queuepb.CloseSession{SessionId: s.ID, Reason: "a new leader"}))
		}
	}
}

// gullibleBots take the end of a lease from bots that do not have it.
type gullibleBots struct {
	botspb.BotsServer
	l *life
	t *term
}

func gullible(l *life, t *term) botspb.BotsServer { return gullibleBots{t.bots, l, t} }

func (b gullibleBots) UpdateBotSession(ctx context.Context, req *botspb.UpdateBotSessionRequest) (*botspb.BotSession, error) {
	b.believe(ctx, req.BotSession)
	return b.BotsServer.UpdateBotSession(ctx, req)
}

func (b gullibleBots) CreateBotSession(ctx context.Context, req *botspb.CreateBotSessionRequest) (*botspb.BotSession, error) {
	b.believe(ctx, req.BotSession)
	return b.BotsServer.CreateBotSession(ctx, req)
}

// believe completes jobs with whatever result there is, in the name of who has
// them now.
func (b gullibleBots) believe(ctx context.Context, s *botspb.BotSession) {
	jobs, _, err := b.l.queue.Unfinished(ctx)
	if err != nil {
		return
	}
	for _, l := range s.Leases {
		for _, j := range jobs {
			if l.Result == nil || !strings.HasSuffix(l.Id, j.ID) || j.Stage != queue.Executing {
				continue
			}
			response, err := responseOf(l)
			if err != nil {
				b.l.n.w.fail("%v", err)
			}
			_, _ = b.t.proposer.Propose(ctx, raftfsm.Complete(&queuepb.Complete{
				JobId: j.ID, Attempt: j.Attempt, SessionId: j.SessionID,
				Response: &queuepb.Complete_ExecuteResponse{ExecuteResponse: response},
			}))
		}
	}
}

// responseOf is what the scheduler makes of a lease that has ended.
func responseOf(l *botspb.Lease) ([]byte, error) {
	result := new(repb.ActionResult)
	if err := l.Result.UnmarshalTo(result); err != nil {
		return nil, err
	}
	return proto.Marshal(&repb.ExecuteResponse{Result: result})
}

// lostLeaders cuts one leader after the other off, as its clients see it still.
func lostLeaders(ctx context.Context, w *world) {
	rng := rand.New(rand.NewPCG(w.o.seed, 2))
	for ctx.Err() == nil {
		_ = sleep(ctx, some(rng, 2*time.Second))
		w.isolateLeader(ctx, rng)
	}
}

// slowSuccession moves leadership to a node that has yet to apply what it has.
func slowSuccession(ctx context.Context, w *world) {
	for ctx.Err() == nil {
		_ = sleep(ctx, time.Second)
		l := w.leading()
		if l == nil {
			continue
		}
		for _, n := range w.nodes {
			if n != l.n {
				n.applying.Store(int64(600 * time.Millisecond))
			}
		}
		_ = sleep(ctx, 2*time.Second)
		w.handOver(ctx, nil)
		_ = sleep(ctx, time.Second)
		for _, n := range w.nodes {
			n.applying.Store(0)
		}
	}
}

// lateWorkers has workers come back when others have just got what they had.
func lateWorkers(ctx context.Context, w *world) {
	rng := rand.New(rand.NewPCG(w.o.seed, 2))
	for ctx.Err() == nil {
		_ = sleep(ctx, time.Second)
		w.cutBot(ctx, rng, expiry+some(rng, 2*time.Second))
	}
}

// blankMajority makes the one member that lags and one without its disk elect a
// leader.
func blankMajority(ctx context.Context, w *world) {
	_ = sleep(ctx, 3*time.Second)
	for ctx.Err() == nil {
		l := w.leading()
		if l == nil || len(w.nodes) != 3 {
			_ = sleep(ctx, 100*time.Millisecond)
			continue
		}
		var others []*node
		for _, n := range w.nodes {
			if n != l.n {
				others = append(others, n)
			}
		}
		lagging, wiped := others[0], others[1]
		w.net.cut(true, append(both(lagging.id, l.n.id), both(lagging.id, wiped.id)...)...)
		_ = sleep(ctx, 4*time.Second)
		w.net.cut(true, both(l.n.id, wiped.id)...)
		_, err := wiped.crash(false)
		w.note(err)
		w.replace(wiped)
		w.net.cut(false, both(lagging.id, wiped.id)...)
		_ = sleep(ctx, 6*time.Second)
		w.net.heal()
		_ = sleep(ctx, 4*time.Second)
	}
}
