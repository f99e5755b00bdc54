package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// How a store that fails is tried again.
const (
	firstRetry = 10 * time.Millisecond
	lastRetry  = time.Second
	// handOverAfter is how long a leader tries alone: then another one shall lead.
	handOverAfter = 2 * time.Second
)

// commandIndex is the index of the first command of a Raft entry; the others
// follow it. A group has at most maxGroup.
func commandIndex(entry uint64) uint64 { return entry * maxGroup }

// lastIndex is the highest that a command of a Raft entry can have.
func lastIndex(entry uint64) uint64 { return entry*maxGroup + maxGroup - 1 }

// entryIndex is the Raft entry of a command.
func entryIndex(index uint64) uint64 { return index / maxGroup }

// fsm is what Raft applies committed entries to: the machine, which must skip
// none of them. Raft calls its methods from one goroutine.
type fsm struct {
	machine  *Machine
	observer Observer
	replaced func(uint64)
	log      *slog.Logger
	snaps    *snapshots
	entries  raft.LogStore
	keep     func(index uint64) // does not let Raft cut off this entry
	failure  *failure
	ctx      context.Context //nolint:containedctx // ends with the proposer
	handOver func()          // asks for another leader; does not wait

	mu      sync.Mutex
	applied uint64        // Raft index: all commands up to it are in the stores
	changed chan struct{} // closed when applied grows
	trouble error         // why an entry is being tried again; nil when all is well
}

// entryOutcome is what Apply returns to whoever waits for the entry.
type entryOutcome struct {
	applied Applied
	err     error
}

// Apply implements raft.FSM. It returns only when the entry is in the stores, or
// when the proposer is closed or has stopped for good: then no later entry is
// applied either.
func (f *fsm) Apply(l *raft.Log) any {
	if err := f.failure.get(); err != nil {
		return entryOutcome{err: err}
	}
	if applied, _ := f.position(); l.Index <= applied {
		// A state that came twice takes Raft back to its index. Nobody waits for the
		// outcome: this member does not lead.
		return entryOutcome{err: ErrLeadershipLost}
	}
	cmds, err := DecodeGroup(l.Data)
	if err != nil {
		return f.fatal(f.machine.stop(fmt.Errorf("read entry %d: %w", l.Index, err)))
	}
	var out Applied
	err = f.retry("apply to the stores", func() (err error) {
		out, err = f.machine.Apply(f.ctx, commandIndex(l.Index), cmds)
		return err
	})
	if err != nil {
		return f.fatal(err)
	}
	f.observer(out.Index, out.Events)
	f.advance(l.Index)
	return entryOutcome{applied: out}
}

// StoreConfiguration implements raft.ConfigurationStore: the index moves on.
func (f *fsm) StoreConfiguration(index uint64, _ raft.Configuration) {
	if f.ctx.Err() == nil && f.failure.get() == nil {
		f.advance(index)
	}
}

// fatal notes an error that stops the proposer for good.
func (f *fsm) fatal(err error) entryOutcome {
	if f.failure.note(err) {
		f.log.Error("the state machine stopped", "error", err)
	}
	return entryOutcome{err: err}
}

// retry does a step until it succeeds. Its error is ErrFatal, or ErrStopped once
// the proposer is being closed.
func (f *fsm) retry(what string, do func() error) error {
	begun, wait := time.Now(), firstRetry
	for handOver := handOverAfter; ; wait = min(2*wait, lastRetry) {
		if f.ctx.Err() != nil {
			return ErrStopped
		}
		err := do()
		if err == nil || errors.Is(err, ErrFatal) {
			f.setTrouble(what, nil)
			return err
		}
		f.setTrouble(what, err)
		if time.Since(begun) >= handOver {
			handOver += handOverAfter
			f.handOver()
		}
		select {
		case <-time.After(wait):
		case <-f.ctx.Done():
		}
	}
}

// setTrouble notes and logs when a step begins to fail, and when it no longer does.
func (f *fsm) setTrouble(what string, err error) {
	f.mu.Lock()
	before := f.trouble
	f.trouble = err
	f.mu.Unlock()
	switch {
	case err != nil && before == nil && f.ctx.Err() == nil:
		f.log.Error("cannot "+what+", trying again", "error", err)
	case err == nil && before != nil:
		f.log.Info("can " + what + " again")
	}
}

// advance moves the applied index on.
func (f *fsm) advance(index uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if index > f.applied {
		f.applied = index
		close(f.changed)
		f.changed = make(chan struct{})
	}
}

// position returns the applied Raft index, and what is closed when it has grown.
func (f *fsm) position() (uint64, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.applied, f.changed
}

func (f *fsm) troubled() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.trouble
}

var (
	_ raft.FSM                = (*fsm)(nil)
	_ raft.ConfigurationStore = (*fsm)(nil)
)
