package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/node/client"
)

const (
	// callPatience is for one call, callerPatience for all repetitions together:
	// longer than any fault that the tests make.
	callPatience   = 30 * time.Second
	callerPatience = 90 * time.Second
	firstPause     = 50 * time.Millisecond
	lastPause      = 800 * time.Millisecond
)

// caller is one client. It asks any node, and another one when that is
// UNAVAILABLE, as Bazel does behind a load balancer. Any other error is a
// complaint.
type caller struct {
	*Load
	id     int
	random *rand.Rand
}

// try repeats a call until it succeeds or ctx ends. Only the latter, or a
// complaint that was made, is an error.
func (c *caller) try(ctx context.Context, what string, call func(ctx context.Context, e *endpoint) error) error {
	began, pause, last := time.Now(), firstPause, -1
	for {
		i := c.random.IntN(len(c.endpoints))
		if i == last { // it has just failed
			i = (i + 1) % len(c.endpoints)
		}
		last = i
		err := c.once(ctx, c.endpoints[i], call)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !away(err):
			err = fmt.Errorf("%s through %s: %w", what, c.endpoints[i].address, err)
			c.complaints.add(err)
			return err
		case time.Since(began) > callerPatience:
			err = fmt.Errorf("%s: no node could for %s: %w", what, callerPatience, err)
			c.complaints.add(err)
			return err
		}
		c.unavailable.Add(1)
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, lastPause)
	}
}

// insist asks one node until it answers.
func (c *caller) insist(ctx context.Context, what string, e *endpoint, call func(ctx context.Context, e *endpoint) error) error {
	for began, pause := time.Now(), firstPause; ; pause = min(2*pause, lastPause) {
		err := c.once(ctx, e, call)
		if err == nil {
			return nil
		}
		if !away(err) || time.Since(began) > callerPatience || ctx.Err() != nil {
			return fmt.Errorf("%s through %s: %w", what, e.address, err)
		}
		time.Sleep(pause)
	}
}

func (c *caller) once(ctx context.Context, e *endpoint, call func(ctx context.Context, e *endpoint) error) error {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	return call(ctx, e)
}

// away tells whether a client may repeat what failed (REAPI: UNAVAILABLE; Bazel
// adds ABORTED).
func away(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.Aborted || errors.Is(err, client.ErrUnreachable)
}

// pause waits for a random time up to d; false when ctx has ended.
func (c *caller) pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(time.Duration(c.random.Int64N(int64(d)))):
		return true
	case <-ctx.Done():
		return false
	}
}

// late tells whether an answer did not come in time.
func late(err error) bool { return status.Code(err) == codes.DeadlineExceeded }
