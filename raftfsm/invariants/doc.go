// Package invariants holds what must be true of the nodes of a grid, as code: of
// the stores of one node, of two nodes beside each other, of the events that
// nodes hear, and of what was acknowledged. Simulation, tests and fsck use it.
package invariants

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

// ErrBroken is what every error about a broken invariant wraps.
var ErrBroken = errors.New("invariant broken")

// Queue is what is looked at of the queue; *queue.Store has it.
type Queue interface {
	Check(ctx context.Context) error
	Dump(ctx context.Context, to io.Writer) error
	AppliedIndex() uint64
	AppliedTime() time.Time
	Operation(ctx context.Context, id string) (*queue.Operation, *queue.Job, error)
	Unfinished(ctx context.Context) ([]*queue.Job, []*queue.Operation, error)
}

// Cache is what is looked at of the action cache; *actioncache.Store has it.
type Cache interface {
	Check(ctx context.Context) error
	Dump(ctx context.Context, to io.Writer) error
	AppliedIndex() uint64
}

// Limits are what the scheduler of a grid is set to.
type Limits struct {
	Failures int32 // attempts that failed, of one job
	Losses   int32 // attempts that were interrupted, of one job
}
