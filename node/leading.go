package node

import (
	"context"
	"fmt"
	"time"

	"github.com/bgrid-node/bgrid-node/node/bots"
	"github.com/bgrid-node/bgrid-node/node/cluster/route"
	"github.com/bgrid-node/bgrid-node/node/reapi"
	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/raftfsm"
)

// leading is what a node does only while it leads: it has the scheduler, and the
// services on top of it.
type leading struct {
	node      *Node
	log       *raftfsm.TermLog // nil: the node stands alone, and leads as long as it lives
	scheduler *sched.Scheduler
	closing   context.Context //nolint:containedctx // ends with the term
	end       context.CancelFunc
}

// newTerm starts the scheduler. All that was committed before must have been
// applied here.
func (n *Node) newTerm(ctx context.Context) (_ *leading, err error) {
	t, log := &leading{node: n}, n.proposer
	if n.cluster != nil {
		t.log = raftfsm.NewTermLog(n.cluster.Raft()) // not through the next leader
		log = t.log
	}
	t.closing, t.end = context.WithCancel(n.closing)
	if t.scheduler, err = n.newScheduler(log); err != nil {
		t.end()
		return nil, err
	}
	n.scheduler.Store(t.scheduler)
	if err := t.scheduler.Start(ctx); err != nil {
		t.stop()
		return nil, fmt.Errorf("start scheduler: %w", err)
	}
	return t, nil
}

// services returns what the term serves.
func (t *leading) services() (*route.Services, error) {
	s, o := route.NewServices(), t.node.reapiOptions()
	o.Scheduler, o.Closing = t.scheduler, t.closing
	if err := reapi.RegisterExecution(s, o); err != nil {
		return nil, err
	}
	b := t.node.botsOptions(t.scheduler, t.closing)
	b.Verify = t.node.leads
	return s, bots.Register(reapi.Guard(s, t.node.logger), b)
}

// leads tells whether this node leads at this moment; an error says why not.
func (n *Node) leads(ctx context.Context) error {
	_, err := n.cluster.Raft().ReadIndex(ctx)
	return err
}

// stop ends the term: what waits ends with UNAVAILABLE, and is taken up again at
// the next leader.
func (t *leading) stop() {
	t.end()
	t.node.scheduler.CompareAndSwap(t.scheduler, nil)
	if t.log != nil {
		t.log.End()
	}
	t.scheduler.Stop()
}

// lookAtRaft is how often the state is looked at beside the cluster's word.
const lookAtRaft = 100 * time.Millisecond

// startTerms leads whenever this node is elected, until the node closes.
func (n *Node) startTerms() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.terms(ctx)
	}()
	n.closers.add("terms", func() error {
		cancel()
		<-ended
		return nil
	})
}

func (n *Node) terms(ctx context.Context) {
	ticker := time.NewTicker(lookAtRaft)
	defer ticker.Stop()
	var now *leading
	var number uint64 // of the term
	follow := func() {
		if now != nil {
			n.router.Follow()
			now.stop()
			now = nil
		}
	}
	defer follow()
	for {
		changed := n.cluster.Changed()
		raft := n.cluster.Raft()
		leads, at := raft != nil && raft.IsLeader(), uint64(0)
		if leads {
			at = raft.Term()
		}
		if now != nil && (!leads || at != number) {
			follow()
		}
		if now == nil && leads {
			t, err := n.lead(ctx)
			if err != nil {
				n.logger.Warn("this node was elected and cannot lead yet", "term", at, keyError, err)
			} else {
				now, number = t, at
			}
		}
		if now != nil && n.draining.Load() {
			n.abdicate(ctx)
		}
		select {
		case <-changed:
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// abdicate lets another node lead, if there is one that can.
func (n *Node) abdicate(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, abdication)
	defer cancel()
	if err := n.cluster.Transfer(ctx); err != nil {
		n.logger.Debug("leadership cannot be handed over now", keyError, err)
	}
}

// abdication bounds an attempt to hand leadership over.
const abdication = 5 * time.Second

// lead begins a term.
func (n *Node) lead(ctx context.Context) (*leading, error) {
	start := time.Now()
	if err := n.cluster.Raft().Barrier(ctx); err != nil {
		return nil, err
	}
	t, err := n.newTerm(ctx)
	if err != nil {
		return nil, err
	}
	s, err := t.services()
	if err != nil {
		t.stop()
		return nil, err
	}
	n.router.Lead(s)
	n.logger.Info("this node leads", keyDuration, time.Since(start))
	return t, nil
}
