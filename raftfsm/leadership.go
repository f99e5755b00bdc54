package raftfsm

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// LeaderState is who leads, as far as a member knows.
type LeaderState struct {
	Term     uint64
	Leader   string // node id; "" while there is none
	IsLeader bool   // this member
}

// leadership keeps the LeaderState up to date.
type leadership struct {
	mu      sync.Mutex
	state   LeaderState
	changed chan struct{}
	stop    chan struct{} // ends the goroutine that watches
	ended   sync.WaitGroup
}

func newLeadership() *leadership { return &leadership{changed: make(chan struct{})} }

// watch follows a node, instead of the one before.
func (l *leadership) watch(node *raft.Raft) {
	l.close()
	seen, stop := make(chan raft.Observation, 1), make(chan struct{})
	l.stop = stop
	// What does not fit is dropped: there is one to be looked at already, and what
	// is looked at then is the newest.
	observer := raft.NewObserver(seen, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.RaftState, raft.LeaderObservation:
			return true
		}
		return false
	})
	node.RegisterObserver(observer)
	l.ended.Go(func() {
		defer node.DeregisterObserver(observer)
		for {
			l.look(node)
			select {
			case <-seen:
			case <-stop:
				l.set(LeaderState{Term: node.CurrentTerm()})
				return
			}
		}
	})
}

func (l *leadership) look(node *raft.Raft) {
	_, id := node.LeaderWithID()
	l.set(LeaderState{Term: node.CurrentTerm(), Leader: string(id), IsLeader: node.State() == raft.Leader})
}

func (l *leadership) set(s LeaderState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s != l.state {
		l.state = s
		close(l.changed)
		l.changed = make(chan struct{})
	}
}

func (l *leadership) close() {
	if l.stop != nil {
		close(l.stop)
		l.stop = nil
	}
	l.ended.Wait()
}

// Leadership returns who leads, and a channel that is closed when that has
// changed. States that were over at once may be left out, the latest never is.
func (r *Raft) Leadership() (LeaderState, <-chan struct{}) {
	r.lead.mu.Lock()
	defer r.lead.mu.Unlock()
	return r.lead.state, r.lead.changed
}

// Leader returns the node id of the leader, "" when none is known.
func (r *Raft) Leader() string {
	_, id := r.raft().LeaderWithID()
	return string(id)
}

// IsLeader tells whether this member leads, as far as it knows: see ReadIndex for
// what is certain.
func (r *Raft) IsLeader() bool { return r.raft().State() == raft.Leader }

// Term returns the current term.
func (r *Raft) Term() uint64 { return r.raft().CurrentTerm() }

// Transfer hands leadership over to the member that is least behind. It returns
// when this member no longer leads. ErrNotLeader when it does not.
func (r *Raft) Transfer(ctx context.Context) error {
	if err := r.await(ctx, func() error { return r.raft().LeadershipTransfer().Error() }); err != nil {
		return fmt.Errorf("transfer leadership: %w", err)
	}
	for {
		state, changed := r.Leadership()
		if !state.IsLeader {
			return nil
		}
		select {
		case <-changed:
		case <-time.After(r.o.ElectionTimeout):
			return fmt.Errorf("transfer leadership: no other member took it")
		case <-ctx.Done():
			return fmt.Errorf("transfer leadership: %w", ctx.Err())
		}
	}
}

// handOver asks for another leader, without waiting, when this member cannot apply
// what is committed. Who waits for that here does so no longer once another one
// leads.
func (r *Raft) handOver() {
	if !r.IsLeader() {
		r.flights.refuseAll(ErrLeadershipLost)
		return
	}
	r.log.Warn("handing leadership over: this node cannot apply what is committed")
	r.work.run(func() {
		if err := r.raft().LeadershipTransfer().Error(); err != nil {
			r.log.Warn("cannot hand leadership over", "error", err)
			return
		}
		r.flights.refuseAll(ErrLeadershipLost)
	})
}
