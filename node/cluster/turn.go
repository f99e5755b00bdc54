package cluster

import "context"

// turn lets one caller at a time do something that takes long. Waiting for it ends
// with the caller, as waiting for a mutex does not.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// take waits for the turn; the function returned ends it.
func (t turn) take(ctx context.Context) (func(), error) {
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
