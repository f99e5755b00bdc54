package placement

import (
	"context"
	"errors"
	"time"

	"github.com/bgrid-node/bgrid-node/store/cas"
)

// DefaultPatience is how long a call waits for members that went away a moment ago:
// a node that is cut off for some seconds delays its clients, and fails none of
// their builds. Whoever is away for longer is not waited for.
const DefaultPatience = 10 * time.Second

// await waits for another view than v, in which members may be back. It is false
// when v is not news any more, and when ctx ends: then what v says stands.
func (b *Blobs) await(ctx context.Context, v *view) bool {
	left := b.patience - time.Since(v.since)
	if left <= 0 || v.alone() {
		return false
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-v.over:
		return true
	case <-timer.C:
	case <-ctx.Done():
	case <-b.done.Done():
	}
	return false
}

// patiently repeats a call that could not tell, or do, what was asked.
func (b *Blobs) patiently(ctx context.Context, call func() error) error {
	for {
		err := call()
		if !errors.Is(err, cas.ErrUnavailable) || !b.await(ctx, b.view.Load()) {
			return err
		}
	}
}

// anyUnavailable tells whether a call for many blobs is worth repeating.
func anyUnavailable(errs []error) bool {
	for _, err := range errs {
		if errors.Is(err, cas.ErrUnavailable) {
			return true
		}
	}
	return false
}
