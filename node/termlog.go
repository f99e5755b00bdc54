package node

import (
	"context"
	"fmt"
	"sync"

	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
)

// termLog is the command log as the scheduler of one term has it. A node may lose
// its leadership and win it again within a moment: what the old scheduler proposed
// must not be committed behind the back of the new one, which loads what is there
// when it starts.
type termLog struct {
	log raftfsm.Proposer

	mu       sync.Mutex
	over     bool
	proposed sync.WaitGroup // calls under way
}

// Propose implements raftfsm.Proposer.
func (t *termLog) Propose(ctx context.Context, entries ...*commandpb.Entry) (raftfsm.Result, error) {
	t.mu.Lock()
	if t.over {
		t.mu.Unlock()
		return raftfsm.Result{}, fmt.Errorf("propose: %w: %w", raftfsm.ErrNotProposed, raftfsm.ErrNotLeader)
	}
	t.proposed.Add(1)
	t.mu.Unlock()
	defer t.proposed.Done()
	return t.log.Propose(ctx, entries...)
}

// end refuses what comes from now on, and returns when the fate of what came before
// is known.
func (t *termLog) end() {
	t.mu.Lock()
	t.over = true
	t.mu.Unlock()
	t.proposed.Wait()
}
