package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// LocalOptions are what a Local commits to.
type LocalOptions struct {
	Queue       *queue.Store
	ActionCache ActionCache
	// SyncBlobs makes every acknowledged blob durable; cheap when there is
	// nothing new. nil: there are no blobs.
	SyncBlobs func(context.Context) error
	Observer  Observer     // nil: nobody listens
	Logger    *slog.Logger // nil: slog.Default()
}

// Local is the Proposer of a node that stands alone: no log, group commit
// straight into the stores.
type Local struct {
	machine  *Machine
	observer Observer
	log      *slog.Logger
	intake   *intake
	failure  *failure
}

var _ Proposer = (*Local)(nil)

// OpenLocal starts to commit. The stores stay the caller's, to be closed after
// Close.
func OpenLocal(ctx context.Context, o LocalOptions) (*Local, error) {
	if o.Queue == nil || o.ActionCache == nil {
		return nil, errors.New("open local proposer: a queue and an action cache are needed")
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open local proposer: %w", err)
	}
	l := &Local{
		machine:  NewMachine(MachineOptions{Queue: o.Queue, ActionCache: o.ActionCache, SyncBlobs: o.SyncBlobs}),
		observer: o.Observer,
		log:      o.Logger,
		intake:   newIntake(),
		failure:  newFailure(),
	}
	if l.observer == nil {
		l.observer = func(uint64, []queue.Event) {}
	}
	if l.log == nil {
		l.log = slog.Default()
	}
	go l.run()
	return l, nil
}

// Propose implements Proposer.
func (l *Local) Propose(ctx context.Context, entries ...*commandpb.Entry) (Result, error) {
	return l.intake.propose(ctx, entries)
}

// Failed is closed when the state machine has stopped for good: the node must
// stop. Err says why.
func (l *Local) Failed() <-chan struct{} { return l.failure.ch }

// Err returns why Failed is closed; nil before.
func (l *Local) Err() error { return l.failure.get() }

// Close ends the group that is being committed and refuses the proposals behind
// it with ErrNotProposed and ErrStopped.
func (l *Local) Close() error {
	l.intake.close()
	<-l.intake.done
	return nil
}

// run commits groups until Close.
func (l *Local) run() {
	defer close(l.intake.done)
	for {
		group, ok := l.intake.next()
		if !ok {
			return
		}
		l.commit(group)
	}
}

// commit applies a group, tells the observer, and answers.
func (l *Local) commit(group []*proposal) {
	if len(group) == 0 {
		return
	}
	if err := l.Err(); err != nil {
		refuse(group, fmt.Errorf("%w: %w", ErrNotProposed, err))
		return
	}
	cmds := commands(group, time.Now().UnixNano())
	out, err := l.machine.Apply(context.Background(), l.machine.Next(), cmds)
	if err != nil {
		if l.failure.note(err) {
			l.log.Error("the state machine stopped", "error", err)
		}
		refuse(group, err)
		return
	}
	l.observer(out.Index, out.Events)
	answer(group, out.Results)
}
