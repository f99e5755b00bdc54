package bots

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
)

// Bounds of how long a call waits for news.
const (
	longestWait = 300 * time.Second
	leastWait   = 3 * time.Second // of what the bot's deadline allows: below, a call does not wait
	commitWait  = 500 * time.Millisecond
)

// patience is how long the call may wait: four fifths of what is left until the
// bot's deadline, and never so long that a bot which calls again at once would be
// taken for silent. Even one in a hurry is given what is being committed to it.
func (c *call) patience(ctx context.Context, arrived time.Time) time.Duration {
	wait := min(longestWait, c.o.Expiry/2)
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
	defer c.endWait()
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
			return leases, nil
		default:
			return nil, err
		}
	}
}
