package sched

import (
	"context"
	"fmt"
	"io"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

// Watch follows one operation: first its current state, then each change, at
// least the last one of several. One goroutine at a time may use it.
type Watch struct {
	s     *Scheduler
	op    *operation // nil when final is set
	final *State     // of an operation that was done before
	wake  chan struct{}

	started, ended bool
	seen           uint64 // the job's version that was told last
}

// Watch begins to follow an operation. ErrNotFound when there is none of that
// name. Close it when it is not needed any more.
func (s *Scheduler) Watch(ctx context.Context, name string) (*Watch, error) {
	instance, id := splitName(name)
	for {
		s.mu.Lock()
		if op := s.ops[id]; op != nil && op.row.Instance == instance {
			w := &Watch{s: s, op: op, wake: make(chan struct{}, 1)}
			op.watches = append(op.watches, w)
			s.watching++
			if op.job.class.stale {
				s.armRefresh()
			}
			s.mu.Unlock()
			return w, nil
		}
		changed := s.observedLocked()
		s.mu.Unlock()
		state, err := s.doneState(ctx, instance, id)
		if err != nil {
			return nil, err
		}
		if state != nil {
			return &Watch{s: s, final: state}, nil
		}
		select { // it is committed, and about to be observed
		case <-changed:
		case <-s.ctx.Done():
			return nil, ErrStopped
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// observedLocked returns a channel that is closed after the next Observe.
func (s *Scheduler) observedLocked() <-chan struct{} {
	if s.observed == nil {
		s.observed = make(chan struct{})
	}
	return s.observed
}

// Next returns the current state the first time, then waits for each change. It
// returns io.EOF after the state that is Done, and ErrStopped when the node stops
// first.
func (w *Watch) Next(ctx context.Context) (*State, error) {
	if w.ended {
		return nil, io.EOF
	}
	if w.final != nil {
		w.ended = true
		return w.final, nil
	}
	for {
		state, out, stopped := w.look()
		switch {
		case out != nil:
			var err error
			if state.Response, err = out.response(ctx, w.s.o.Blobs); err != nil {
				return nil, fmt.Errorf("read response of operation %s: %w", state.Name, err)
			}
			w.ended = true
			return state, nil
		case state != nil:
			return state, nil
		case stopped:
			return nil, ErrStopped
		}
		select {
		case <-w.wake:
		case <-w.s.ctx.Done():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// look returns the state when it is news, with its outcome when it is done.
func (w *Watch) look() (state *State, out *outcome, stopped bool) {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	j := w.op.job
	if w.op.done != nil || !w.started || w.seen != j.version {
		w.started, w.seen = true, j.version
		if w.op.done == nil && j.row.Stage == queue.Queued {
			j.published = s.reasonOf(j)
		}
		state = s.stateLocked(w.op)
	}
	return state, w.op.done, s.stopped
}

// Close ends the watch; more than once is fine.
func (w *Watch) Close() {
	w.ended = true
	if w.op == nil {
		return
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if n := len(w.op.watches); n > 0 {
		w.op.watches = without(w.op.watches, w)
		w.s.watching -= n - len(w.op.watches)
	}
}
