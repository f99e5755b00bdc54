package runners

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Keys of log records.
const (
	keyLease   = "lease"
	keyAttempt = "attempt"
	keyError   = "error"
)

// Waits between tries to reach the server.
const (
	firstWait = 50 * time.Millisecond
	longWait  = 5 * time.Second
)

// loop is the state of one Run.
type loop struct {
	w   *Worker
	ctx context.Context
	wg  sync.WaitGroup

	mu      sync.Mutex
	running map[string]*running // by lease id
}

// running is a lease in hand, from its event until its completion is
// acknowledged.
type running struct {
	attempt int32
	cancel  context.CancelFunc
}

// Run takes leases and executes them until the session ends (io.EOF from
// Leases.Next: what runs is finished and Run returns nil), or until ctx ends:
// then every command is killed at once and Run returns ctx's error, when nothing
// of them is left. It may be called once; it closes the worker.
func (w *Worker) Run(ctx context.Context) error {
	l := &loop{w: w, ctx: ctx, running: map[string]*running{}}
	guard, endGuard := context.WithCancel(context.WithoutCancel(ctx))
	var guarding sync.WaitGroup
	guarding.Go(func() { w.disk.run(guard) })
	err := l.events()
	l.wg.Wait()
	endGuard()
	guarding.Wait()
	return errors.Join(err, w.Close())
}

// events follows the session.
func (l *loop) events() error {
	wait := firstWait
	for {
		e, err := l.w.leases.Next(l.ctx)
		switch {
		case l.ctx.Err() != nil:
			return l.ctx.Err()
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			l.w.log.Warn("wait for leases", keyError, err)
			wait = l.pause(wait)
			continue
		case e.Assigned != nil:
			l.start(e.Assigned)
		case e.Cancelled != "":
			l.cancel(e.Cancelled)
		}
		wait = firstWait
	}
}

// pause waits and returns how long to wait the next time.
func (l *loop) pause(wait time.Duration) time.Duration {
	select {
	case <-l.ctx.Done():
	case <-time.After(wait):
	}
	return min(2*wait, longWait)
}

// start executes a lease. One that is in hand already was sent again; a newer
// attempt of it takes its place.
func (l *loop) start(lease *Lease) {
	ctx, cancel := context.WithCancel(l.ctx)
	r := &running{attempt: lease.Attempt, cancel: cancel}
	l.mu.Lock()
	older := l.running[lease.ID]
	if older != nil && older.attempt >= lease.Attempt {
		l.mu.Unlock()
		cancel()
		return
	}
	l.running[lease.ID] = r
	l.mu.Unlock()
	if older != nil {
		older.cancel()
	}
	l.wg.Go(func() {
		defer cancel()
		completion := l.w.execute(ctx, lease, time.Now())
		if l.ctx.Err() == nil { // else whoever ended the worker tells what becomes of its leases
			l.complete(completion)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.running[lease.ID] == r {
			delete(l.running, lease.ID)
		}
	})
}

// cancel kills a lease's action. Its completion still follows: it tells the
// server that the slot is free.
func (l *loop) cancel(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.running[id]; r != nil {
		r.cancel()
	}
}

// complete hands a completion over, again and again until it is acknowledged.
func (l *loop) complete(c Completion) {
	for wait := firstWait; ; {
		err := l.w.leases.Complete(l.ctx, c)
		if err == nil || l.ctx.Err() != nil {
			return
		}
		l.w.log.Warn("complete lease", keyLease, c.LeaseID, keyAttempt, c.Attempt, keyError, err)
		wait = l.pause(wait)
	}
}

// unlessCancelled makes an error that only looks like a cancellation of this
// action (a store that is closing, say) one of this worker.
func unlessCancelled(ctx context.Context, err error) error {
	if ctx.Err() == nil && errors.Is(err, context.Canceled) {
		return fmt.Errorf("interrupted: %v", err) // not wrapped on purpose
	}
	return err
}
