package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// Bounds of a group.
const (
	maxGroup   = 256  // commands
	maxEntries = 2048 // entries; the command that reaches it is the group's last
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

	requests chan *proposal
	stop     chan struct{} // closed by Close
	stopOnce sync.Once
	done     chan struct{} // closed when the committing goroutine has ended
	failed   chan struct{} // closed when the machine has stopped for good
	err      error         // why, set before failed is closed
}

var _ Proposer = (*Local)(nil)

// proposal is a call of Propose on its way.
type proposal struct {
	cmd    *commandpb.Command
	state  atomic.Int32 // one of the constants below
	done   chan struct{}
	result Result
	err    error
}

// A proposal is either taken by the committer or withdrawn by its caller.
const (
	waiting = iota
	taken
	withdrawn
)

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
		requests: make(chan *proposal, maxGroup),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
		failed:   make(chan struct{}),
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
	p := &proposal{cmd: &commandpb.Command{Version: Version, Entries: entries}, done: make(chan struct{})}
	if err := known(p.cmd); err != nil {
		return Result{}, fmt.Errorf("propose: %w: %w", ErrNotProposed, err)
	}
	if err := ctx.Err(); err != nil {
		return Result{}, fmt.Errorf("propose: %w: %w", ErrNotProposed, err)
	}
	select {
	case l.requests <- p:
	case <-ctx.Done():
		return Result{}, fmt.Errorf("propose: %w: %w", ErrNotProposed, ctx.Err())
	case <-l.stop:
		return Result{}, fmt.Errorf("propose: %w: %w", ErrNotProposed, ErrStopped)
	}
	select {
	case <-p.done:
		return p.result, p.err
	case <-ctx.Done():
		return p.abandon(ctx.Err())
	case <-l.done:
		return p.abandon(ErrStopped)
	}
}

// abandon returns what can be said of a proposal that is not waited for any
// longer, for the reason given.
func (p *proposal) abandon(reason error) (Result, error) {
	if p.state.CompareAndSwap(waiting, withdrawn) {
		return Result{}, fmt.Errorf("propose: %w: %w", ErrNotProposed, reason)
	}
	select {
	case <-p.done:
		return p.result, p.err
	default:
		return Result{}, fmt.Errorf("propose: %w", reason)
	}
}

// Failed is closed when the state machine has stopped for good: the node must
// stop. Err says why.
func (l *Local) Failed() <-chan struct{} { return l.failed }

// Err returns why Failed is closed; nil before.
func (l *Local) Err() error {
	select {
	case <-l.failed:
		return l.err
	default:
		return nil
	}
}

// Close ends the group that is being committed and refuses the proposals behind
// it with ErrNotProposed and ErrStopped.
func (l *Local) Close() error {
	l.stopOnce.Do(func() { close(l.stop) })
	<-l.done
	return nil
}

// run commits groups until Close.
func (l *Local) run() {
	defer close(l.done)
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		select {
		case p := <-l.requests:
			l.commit(l.gather(p))
		case <-l.stop:
			return
		}
	}
}

// gather returns the first proposal with those that wait behind it. Proposers
// that were answered a moment ago get to run once before: so what they propose
// next shares one commit instead of trailing behind the first of them. There is
// no waiting for time to pass.
func (l *Local) gather(first *proposal) []*proposal {
	runtime.Gosched()
	group, entries := make([]*proposal, 0, 32), 0
	for p := first; p != nil; {
		if p.state.CompareAndSwap(waiting, taken) {
			group = append(group, p)
			entries += len(p.cmd.Entries)
		}
		p = nil
		if len(group) < maxGroup && entries < maxEntries {
			select {
			case p = <-l.requests:
			default:
			}
		}
	}
	return group
}

// commit applies a group, tells the observer, and answers.
func (l *Local) commit(group []*proposal) {
	if len(group) == 0 {
		return
	}
	if err := l.Err(); err != nil {
		l.fail(group, fmt.Errorf("%w: %w", ErrNotProposed, err))
		return
	}
	now := time.Now().UnixNano()
	cmds := make([]*commandpb.Command, len(group))
	for i, p := range group {
		p.cmd.TimeNanos = now
		cmds[i] = p.cmd
	}
	out, err := l.machine.Apply(context.Background(), l.machine.Next(), cmds)
	if err != nil {
		l.fail(group, err)
		return
	}
	l.observer(out.Index, out.Events)
	for i, p := range group {
		p.result = out.Results[i]
		close(p.done)
	}
}

// fail answers a group that was not committed.
func (l *Local) fail(group []*proposal, err error) {
	if errors.Is(err, ErrFatal) && l.Err() == nil {
		l.log.Error("the state machine stopped", "error", err)
		l.err = err
		close(l.failed)
	}
	for _, p := range group {
		p.err = fmt.Errorf("propose: %w", err)
		close(p.done)
	}
}
