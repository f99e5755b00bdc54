package sim

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/bgrid-node/bgrid-node/node/bots"
	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/raftfsm"
)

// observer is the scheduler that hears of what is committed.
type observer = sched.Scheduler

// term is what a node does only while it leads, as node/leading.go has it.
type term struct {
	number    uint64
	scheduler *sched.Scheduler
	log       *raftfsm.TermLog
	proposer  raftfsm.Proposer // log, or a planted one over it
	bots      botspb.BotsServer
	closing   context.Context //nolint:containedctx // ends with the term
	end       context.CancelFunc
}

// terms leads whenever the node is elected, until its life ends.
func (l *life) terms() {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	follow := func() {
		if t := l.term.Swap(nil); t != nil {
			t.end()
			l.scheduler.Store(nil)
			t.log.End()
			t.scheduler.Stop()
		}
	}
	defer follow()
	for {
		state, changed := l.raft.Leadership()
		now := l.term.Load()
		if now != nil && (!state.IsLeader || state.Term != now.number) {
			follow()
			now = nil
		}
		if now == nil && state.IsLeader {
			if err := l.lead(state.Term); err != nil {
				l.n.w.log.Info("elected and cannot lead yet", "node", l.n.id, "error", err)
			}
		}
		select {
		case <-changed:
		case <-ticker.C:
		case <-l.ctx.Done():
			return
		}
	}
}

// lead begins a term.
func (l *life) lead(number uint64) error {
	w, plant := l.n.w, &l.n.w.plant
	if !plant.noBarrier {
		if err := l.raft.Barrier(l.ctx); err != nil {
			return err
		}
	}
	t := &term{number: number, log: raftfsm.NewTermLog(l.raft)}
	t.proposer = t.log
	if plant.proposer != nil {
		t.proposer = plant.proposer(l, t.proposer)
	}
	t.closing, t.end = context.WithCancel(l.ctx)
	var err error
	t.scheduler, err = sched.New(sched.Options{
		Proposer: t.proposer, Queue: l.queue, Blobs: w.blobs, NodeID: l.n.id, Clustered: true,
		SessionExpiry: expiry, MaxAttempts: maxFailures, MaxLosses: maxLosses, Logger: w.log,
	})
	if err != nil {
		return err
	}
	l.scheduler.Store(t.scheduler)
	if err = t.scheduler.Start(l.ctx); err == nil {
		err = bots.Register(registrar{t}, bots.Options{
			Instance: instance, Scheduler: t.scheduler, Blobs: w.blobs, Expiry: expiry, Closing: t.closing, Logger: w.log, Verify: l.leads,
		})
	}
	if err != nil {
		l.scheduler.Store(nil)
		t.end()
		t.scheduler.Stop()
		return err
	}
	if plant.bots != nil {
		t.bots = plant.bots(l, t)
	}
	l.term.Store(t)
	if plant.termBegan != nil {
		l.ended.Go(func() { plant.termBegan(l, t) })
	}
	w.count(&w.stats.terms)
	return nil
}

// leads tells whether the node leads at this moment.
func (l *life) leads(ctx context.Context) error {
	_, err := l.raft.ReadIndex(ctx)
	return err
}

// registrar takes the one service that a term has on the network.
type registrar struct{ t *term }

func (r registrar) RegisterService(_ *grpc.ServiceDesc, impl any) {
	r.t.bots = impl.(botspb.BotsServer)
}
