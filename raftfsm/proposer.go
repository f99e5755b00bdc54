// Package raftfsm is the command log: commands, the state machine that applies
// them to the stores, and the proposers that commit them. See DESIGN.md.
package raftfsm

import (
	"context"
	"time"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// Proposer commits commands. Local and Raft implement it; nothing above knows
// which one it has.
type Proposer interface {
	// Propose sets the command's version and time, commits it together with
	// concurrent proposals, and returns when it is durable and applied. An error
	// means that it is unknown whether the command was or will be applied,
	// except ErrNotProposed. When ctx ends first the command may still be applied.
	Propose(ctx context.Context, entries ...*commandpb.Entry) (Result, error)
}

// Result is what applying one command gave.
type Result struct {
	Index uint64    // of the log; grows strictly
	Time  time.Time // of the command: later than any before it that changed the queue
	// Errors has one element for each entry: nil, or why it was refused
	// (queue.ErrStale and its like).
	Errors []error
}

// Observer is told of each committed group's events, in order, by the goroutine
// that commits, before the proposals of the group return. It must not block and
// must not propose.
type Observer func(index uint64, events []queue.Event)
