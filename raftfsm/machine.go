package raftfsm

import (
	"context"
	"errors"
	"fmt"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// ActionCache is what the machine needs of the action cache.
type ActionCache interface {
	// Apply makes the writes durable before it returns, each tagged with its own
	// index. index is that of the group, which AppliedIndex is from then on; one
	// that is not above AppliedIndex was applied before and is skipped.
	Apply(index uint64, ws []queue.ActionCacheWrite) error
	// AppliedIndex is the index of the last Apply; 0 when there was none.
	AppliedIndex() uint64
}

// MachineOptions are the stores of a Machine.
type MachineOptions struct {
	Queue       *queue.Store
	ActionCache ActionCache
	// SyncBlobs makes every acknowledged blob durable. nil: there are none.
	SyncBlobs func(context.Context) error
}

// Machine is the state machine: it applies commands to the stores. What it does
// depends on nothing but its state and the commands. One goroutine uses it.
type Machine struct {
	o     MachineOptions
	last  uint64 // highest index ever tried
	fatal error
}

// NewMachine returns a machine that goes on where its stores are.
func NewMachine(o MachineOptions) *Machine {
	return &Machine{o: o, last: max(o.Queue.AppliedIndex(), o.ActionCache.AppliedIndex())}
}

// Next returns the first index that no store has seen: a group that failed in
// the middle may have left its index in one of them, which would skip it.
func (m *Machine) Next() uint64 { return m.last + 1 }

// Applied is what a group of commands gave, once it is durable.
type Applied struct {
	Index   uint64        // of the last command
	Results []Result      // one for each command; of one that was applied before, only Index is set
	Events  []queue.Event // of all, in order
}

// Apply applies a group of commands at consecutive indexes from first, in one
// commit. A returned error means that nothing of the group can be seen, and that
// the group was not acknowledged; errors.Is ErrFatal when the node must stop.
//
// The order keeps what is durable consistent at every moment: blobs, then the
// action cache, then the queue with the index.
func (m *Machine) Apply(ctx context.Context, first uint64, cmds []*commandpb.Command) (Applied, error) {
	if m.fatal != nil {
		return Applied{}, m.fatal
	}
	for i, c := range cmds {
		if err := known(c); err != nil {
			return Applied{}, m.stop(fmt.Errorf("apply command %d: %w", first+uint64(i), err))
		}
	}
	g := group{m: m, first: first, cmds: cmds}
	out, err := g.commit(ctx)
	m.last = max(m.last, out.Index)
	if errors.Is(err, queue.ErrInconsistent) || errors.Is(err, ErrUnknownCommand) {
		return Applied{}, m.stop(err)
	}
	if err != nil {
		return Applied{}, err
	}
	return out, nil
}

// stop makes every further Apply fail.
func (m *Machine) stop(err error) error {
	m.fatal = fmt.Errorf("%w: %w", ErrFatal, err)
	return m.fatal
}
