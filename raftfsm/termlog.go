package raftfsm

import (
	"context"
	"fmt"
	"sync"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
)

// TermLog is the command log as the scheduler of one term has it. A node may lose
// its leadership and win it again within a moment: what the old scheduler proposed
// must not be committed behind the back of the new one, which loads what is there
// when it starts.
type TermLog struct {
	log Proposer

	mu       sync.Mutex
	over     bool
	proposed sync.WaitGroup // calls under way
}

var _ Proposer = (*TermLog)(nil)

// NewTermLog returns the log for a term that has begun.
func NewTermLog(log Proposer) *TermLog { return &TermLog{log: log} }

// Propose implements Proposer. After End it is ErrNotProposed and ErrNotLeader.
func (t *TermLog) Propose(ctx context.Context, entries ...*commandpb.Entry) (Result, error) {
	t.mu.Lock()
	if t.over {
		t.mu.Unlock()
		return Result{}, fmt.Errorf("propose: %w: %w", ErrNotProposed, ErrNotLeader)
	}
	t.proposed.Add(1)
	t.mu.Unlock()
	defer t.proposed.Done()
	return t.log.Propose(ctx, entries...)
}

// End refuses what comes from now on, and returns when the fate of what came before
// is known.
func (t *TermLog) End() {
	t.mu.Lock()
	t.over = true
	t.mu.Unlock()
	t.proposed.Wait()
}
