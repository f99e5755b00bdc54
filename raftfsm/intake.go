package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
)

// Bounds of a group. The command that reaches a limit is the group's last.
const (
	maxGroup   = 256     // commands
	maxEntries = 2048    // entries
	maxBytes   = 1 << 20 // bytes of commands
)

// intake is where proposals wait for the goroutine that commits them, which
// takes them in groups. Each kind of proposer has one.
type intake struct {
	requests chan *proposal
	stop     chan struct{} // closed: nothing is taken any more
	stopOnce sync.Once
	done     chan struct{} // closed by the owner when nobody will answer any more
}

func newIntake() *intake {
	return &intake{
		requests: make(chan *proposal, maxGroup),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
	}
}

// proposal is a call of Propose on its way.
type proposal struct {
	cmd    *commandpb.Command
	size   int          // of cmd in bytes, encoded
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

// propose hands in a command and waits for its result.
func (in *intake) propose(ctx context.Context, entries []*commandpb.Entry) (Result, error) {
	p := &proposal{cmd: &commandpb.Command{Version: Version, Entries: entries}, done: make(chan struct{})}
	if err := known(p.cmd); err != nil {
		return Result{}, fmt.Errorf("propose: %w: %w", ErrNotProposed, err)
	}
	if err := ctx.Err(); err != nil {
		return Result{}, fmt.Errorf("propose: %w: %w", ErrNotProposed, err)
	}
	p.size = proto.Size(p.cmd)
	select {
	case in.requests <- p:
	case <-ctx.Done():
		return Result{}, fmt.Errorf("propose: %w: %w", ErrNotProposed, ctx.Err())
	case <-in.stop:
		return Result{}, fmt.Errorf("propose: %w: %w", ErrNotProposed, ErrStopped)
	}
	select {
	case <-p.done:
		return p.result, p.err
	case <-ctx.Done():
		return p.abandon(ctx.Err())
	case <-in.done:
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

// close makes propose refuse, and next end.
func (in *intake) close() { in.stopOnce.Do(func() { close(in.stop) }) }

// next waits for proposals and returns those that wait, as one group; none when
// all of them were withdrawn. False after close.
func (in *intake) next() ([]*proposal, bool) {
	select {
	case <-in.stop:
		return nil, false
	default:
	}
	select {
	case p := <-in.requests:
		return in.gather(p), true
	case <-in.stop:
		return nil, false
	}
}

// gather returns the first proposal with those that wait behind it. Proposers
// that were answered a moment ago get to run once before: so what they propose
// next shares one commit instead of trailing behind the first of them. There is
// no waiting for time to pass.
func (in *intake) gather(first *proposal) []*proposal {
	runtime.Gosched()
	group, entries, bytes := make([]*proposal, 0, 32), 0, 0
	for p := first; p != nil; {
		if p.state.CompareAndSwap(waiting, taken) {
			group = append(group, p)
			entries += len(p.cmd.Entries)
			bytes += p.size
		}
		p = nil
		if len(group) < maxGroup && entries < maxEntries && bytes < maxBytes {
			select {
			case p = <-in.requests:
			default:
			}
		}
	}
	return group
}

// commands are those of a group, with the time given, in nanoseconds.
func commands(group []*proposal, now int64) []*commandpb.Command {
	cmds := make([]*commandpb.Command, len(group))
	for i, p := range group {
		p.cmd.TimeNanos = now
		cmds[i] = p.cmd
	}
	return cmds
}

// answer gives each proposal of a group its result.
func answer(group []*proposal, results []Result) {
	for i, p := range group {
		p.result = results[i]
		close(p.done)
	}
}

// refuse gives each proposal of a group an error.
func refuse(group []*proposal, err error) {
	for _, p := range group {
		p.err = fmt.Errorf("propose: %w", err)
		close(p.done)
	}
}

// failure is why a proposer has stopped for good.
type failure struct {
	once sync.Once
	ch   chan struct{} // closed when it has
	err  error         // set before ch is closed
}

func newFailure() *failure { return &failure{ch: make(chan struct{})} }

// note stops the proposer if err is ErrFatal, and tells whether it did so now.
func (f *failure) note(err error) (now bool) {
	if errors.Is(err, ErrFatal) {
		f.once.Do(func() {
			f.err, now = err, true
			close(f.ch)
		})
	}
	return now
}

// get returns why, or nil.
func (f *failure) get() error {
	select {
	case <-f.ch:
		return f.err
	default:
		return nil
	}
}
