package route

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The pause before a target is asked again doubles from firstPause to lastPause.
const (
	firstPause = 10 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

// attempt asks a target once. It returns whether it got anywhere: then patience
// begins anew.
type attempt func(ctx context.Context, t *target) (progress bool, err error)

// try repeats an attempt until it ends with something other than a change of the
// leader, or until patience does: that counts from the first of several failures in
// a row at the same target, however long the call went well before. The caller's
// context bounds all of it.
func (r *Router) try(ctx context.Context, do attempt) error {
	var (
		asked   *target
		failing time.Time
		pause   time.Duration
	)
	for {
		t, err := r.await(ctx)
		if err != nil {
			return err
		}
		began := time.Now()
		during, end := t.during(ctx)
		progress, err := do(during, t)
		end()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return status.FromContextError(ctx.Err()).Err()
		case !t.over() && !passes(err):
			return err
		}
		now := time.Now()
		if t != asked || progress || now.Sub(began) >= r.o.Patience {
			asked, failing, pause = t, now, firstPause
		}
		if now.Sub(failing) >= r.o.Patience {
			return asUnavailable(err)
		}
		if err := t.rest(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, lastPause)
	}
}

// passes tells whether an error is about who was asked, and not about what. The
// client did not cancel, and its deadline has not passed: its context was looked at
// before.
func passes(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
		return true
	}
	return false
}

// rest waits for d, or until another target is to be asked.
func (t *target) rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-t.ctx.Done():
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}
