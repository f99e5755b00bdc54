package bots

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
)

// Bounds of how long a call waits for news.
const (
	longestWait = 300 * time.Second
	leastWait   = 3 * time.Second // of what the bot's deadline allows: below, a call does not wait
	commitWait  = 500 * time.Millisecond
	heldWait    = 250 * time.Millisecond // of a bot that holds back its results meanwhile
)

// patience is how long the call may wait: four fifths of what is left until the
// bot's deadline, and never so long that a bot which calls again at once would be
// taken for silent. Even one in a hurry is given what is being committed to it.
func (c *call) patience(ctx context.Context, arrived time.Time, running int) time.Duration {
	wait := min(longestWait, c.o.Expiry/2)
	if running > 0 && c.isHeldBack() {
		wait = heldWait
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		return wait
	}
	allowed := deadline.Sub(arrived) * 4 / 5
	switch {
	case allowed >= leastWait:
		return min(wait, allowed)
	case c.open.Promised():
		return min(commitWait, allowed)
	}
	return 0
}

// wait returns the leases as soon as they differ from those that the bot listed,
// or when its time is over, or another call of the session wants its turn.
func (c *call) wait(ctx context.Context, leases []lease, most time.Duration) ([]lease, error) {
	if most <= 0 {
		return leases, nil
	}
	waiting, interrupt := context.WithTimeout(ctx, most)
	defer interrupt()
	defer context.AfterFunc(c.o.Closing, interrupt)()
	if !c.beginWait(interrupt) {
		return leases, nil
	}
	sat := false
	defer func() { c.endWait(sat && len(leases) > 0 && most > heldWait, ctx.Err() != nil) }()
	for {
		err := c.open.Await(waiting)
		switch {
		case err == nil:
			if leases, err = c.leases(ctx); err != nil || c.differs(leases) {
				return leases, err
			}
		case c.o.Closing.Err() != nil:
			return nil, refused(codes.Unavailable, "the server stops: repeat the call")
		case ctx.Err() != nil: // what it was given meanwhile is sent with the next call
			return nil, ctx.Err()
		case waiting.Err() != nil:
			sat = errors.Is(waiting.Err(), context.DeadlineExceeded)
			return leases, nil
		default:
			return nil, err
		}
	}
}
