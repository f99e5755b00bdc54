package client

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Back-off between two attempts: it doubles from the first to the last, and each
// pause is drawn from its upper half so that many clients do not return at once.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 5 * time.Second
)

// backoff paces the attempts of one call. The zero value is not ready: see
// Client.backoff.
type backoff struct {
	c        *Client
	pause    time.Duration
	deadline time.Time
	patience time.Duration
}

func (c *Client) backoff() *backoff {
	b := &backoff{c: c, patience: c.opts.Patience}
	b.progress()
	return b
}

// progress restarts the clock: the call has moved on.
func (b *backoff) progress() {
	b.pause = firstPause
	b.deadline = time.Now().Add(b.patience)
}

// wait pauses before the next attempt. It returns err when there should be none:
// err is final, patience is at its end, ctx ended, or the server never answered.
func (b *backoff) wait(ctx context.Context, err error) error {
	if !b.c.answered.Load() {
		return err
	}
	pause := b.pause/2 + rand.N(b.pause/2+1)
	if asked, ok := retryDelay(err); ok {
		pause = max(pause, asked)
	} else if !isAway(err) {
		return err
	}
	if time.Now().Add(pause).After(b.deadline) {
		return err
	}
	b.pause = min(2*b.pause, lastPause)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retryDelay returns for how long a server that is short of room or time asks to
// wait (google.rpc.RetryInfo).
func retryDelay(err error) (time.Duration, bool) {
	s, ok := status.FromError(err)
	if !ok || (s.Code() != codes.ResourceExhausted && s.Code() != codes.Unavailable) {
		return 0, false
	}
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok && info.RetryDelay != nil {
			return info.RetryDelay.AsDuration(), true
		}
	}
	return 0, false
}

// retry repeats call, which must be safe to repeat, while the server is away.
func (c *Client) retry(ctx context.Context, call func(context.Context) error) error {
	b := c.backoff()
	for {
		err := call(ctx)
		if err == nil {
			return nil
		}
		if err := b.wait(ctx, err); err != nil {
			return err
		}
	}
}
