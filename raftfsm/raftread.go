package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Barrier returns once everything that was committed before the call is applied
// here. ErrNotLeader on a member that does not lead, or ceases to.
func (r *Raft) Barrier(ctx context.Context) error {
	if _, err := r.barrier(ctx); err != nil {
		return fmt.Errorf("barrier: %w", err)
	}
	return nil
}

// barrier commits an entry that does nothing and returns its Raft index.
func (r *Raft) barrier(ctx context.Context) (uint64, error) {
	node := r.raft()
	if node.State() != raft.Leader {
		return 0, ErrNotLeader
	}
	var index uint64
	err := r.await(ctx, func() error {
		f := node.Barrier(0).(interface {
			raft.Future
			Index() uint64
		})
		err := f.Error()
		index = f.Index()
		return err
	})
	if err != nil {
		return 0, err
	}
	if f := r.failure.get(); f != nil {
		return 0, f
	}
	return index, nil
}

// await runs a call of Raft that cannot be cancelled, and waits for it.
func (r *Raft) await(ctx context.Context, call func() error) error {
	done := make(chan error, 1)
	if !r.work.run(func() { done <- call() }) {
		return ErrStopped
	}
	select {
	case err := <-done:
		return readError(err)
	case <-ctx.Done():
		return ctx.Err()
	case <-r.intake.done:
		return ErrStopped
	}
}

// readError says of Raft's error what callers tell apart.
func readError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrRaftShutdown):
		return ErrStopped
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	}
	return err
}

// ReadIndex returns an index that is not below that of any command which was
// acknowledged before the call: a member that has waited for it by WaitApplied
// sees all of them. ErrNotLeader on a member that does not lead. Concurrent calls
// share a question to the followers.
func (r *Raft) ReadIndex(ctx context.Context) (uint64, error) {
	round := r.reads.join(r)
	select {
	case <-round.done:
	case <-ctx.Done():
		return 0, fmt.Errorf("read index: %w", ctx.Err())
	case <-r.intake.done:
		return 0, fmt.Errorf("read index: %w", ErrStopped)
	}
	if round.err != nil {
		return 0, fmt.Errorf("read index: %w", round.err)
	}
	return lastIndex(round.index), nil
}

// reads groups calls of ReadIndex.
type reads struct {
	mu      sync.Mutex
	next    *readRound // not begun yet; nil: nobody waits for one
	running bool
}

type readRound struct {
	done  chan struct{}
	index uint64 // of Raft
	err   error
}

// join returns the next round to begin: the one that is under way has perhaps
// asked for the index already.
func (s *reads) join(r *Raft) *readRound {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = &readRound{done: make(chan struct{})}
	}
	round := s.next
	if !s.running {
		s.running = true
		go s.run(r)
	}
	return round
}

func (s *reads) run(r *Raft) {
	for {
		s.mu.Lock()
		round := s.next
		s.next, s.running = nil, round != nil
		s.mu.Unlock()
		if round == nil {
			return
		}
		round.index, round.err = r.committed()
		close(round.done)
	}
}

// committed returns the Raft index up to which the log is committed, as the
// leader of this moment knows it.
func (r *Raft) committed() (uint64, error) {
	node := r.raft()
	if node.State() != raft.Leader {
		return 0, ErrNotLeader
	}
	index := node.CommitIndex()
	if !r.canVerify(node, index) {
		return r.barrier(r.stop)
	}
	return index, r.await(r.stop, func() error { return node.VerifyLeader().Error() })
}

// canVerify tells whether a question to the followers proves that index is the
// last that was committed. It does not before the leader has committed an entry of
// its own term; nor when there are members without a vote, whose answers Raft
// takes for votes.
func (r *Raft) canVerify(node *raft.Raft, index uint64) bool {
	for _, s := range node.GetConfiguration().Configuration().Servers {
		if s.Suffrage != raft.Voter {
			return false
		}
	}
	var l raft.Log
	return r.entries.GetLog(index, &l) == nil && l.Term == node.CurrentTerm()
}

// pollApplied is how often WaitApplied looks whether Raft has moved on without
// applying anything.
const pollApplied = 5 * time.Millisecond

// WaitApplied returns once every command up to the index, of ReadIndex or of a
// Result, is applied here. On any member.
func (r *Raft) WaitApplied(ctx context.Context, index uint64) error {
	want := entryIndex(index)
	var poll <-chan time.Time
	for {
		applied, changed := r.fsm.position()
		if applied >= want || r.nothingLeft(applied, want) {
			return nil
		}
		if poll == nil {
			ticker := time.NewTicker(pollApplied)
			defer ticker.Stop()
			poll = ticker.C
		}
		select {
		case <-changed:
		case <-poll:
		case <-ctx.Done():
			return fmt.Errorf("wait for index %d: %w", index, ctx.Err())
		case <-r.failure.ch:
			return fmt.Errorf("wait for index %d: %w", index, r.failure.get())
		case <-r.intake.stop:
			return fmt.Errorf("wait for index %d: %w", index, ErrStopped)
		}
	}
}

// nothingLeft tells whether the entries between applied and want are committed
// and hold nothing to apply: Raft does not show them to its state machine.
func (r *Raft) nothingLeft(applied, want uint64) bool {
	if r.raft().AppliedIndex() < want {
		return false
	}
	for i := want; i > applied; i-- {
		var l raft.Log
		if r.entries.GetLog(i, &l) != nil || (l.Type != raft.LogNoop && l.Type != raft.LogBarrier) {
			return false
		}
	}
	return true
}
