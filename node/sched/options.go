package sched

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// Queue is what the scheduler reads of *queue.Store. It changes it by proposing.
type Queue interface {
	Unfinished(ctx context.Context) ([]*queue.Job, []*queue.Operation, error)
	Sessions(ctx context.Context) ([]*queue.Session, error)
	Operation(ctx context.Context, id string) (*queue.Operation, *queue.Job, error)
	List(ctx context.Context, q queue.ListQuery) ([]queue.OperationJob, string, error)
}

// Blobs is where responses go that are too large for the command log. *cas.Store
// is one.
type Blobs interface {
	Get(ctx context.Context, d digest.Digest) ([]byte, error)
	PutMany(ctx context.Context, class cas.Class, blobs []cas.Blob) []error
}

// Options of a Scheduler. Zero values mean the defaults given.
type Options struct {
	Proposer raftfsm.Proposer // required
	Queue    Queue            // required
	Blobs    Blobs            // required
	NodeID   string           // required: names this node's local sessions over restarts
	// Clustered says that other nodes led before, and that workers are remote to all
	// of them: a local session is then left over from a node that stood alone,
	// whichever, and is closed at Start.
	Clustered bool

	MaxTimeout    time.Duration // handed out with jobs that have none of their own; default: none
	SessionExpiry time.Duration // of a remote session without a sign of life; default 30 s
	MaxAttempts   int32         // failures after which a job is given up; default 5
	MaxLosses     int32         // interruptions after which a job is given up; default 100
	CancelGrace   time.Duration // how long a cancelled lease may still hold its slot; default 5 s
	RetryDelay    time.Duration // of dispatch after the log refused to take a command; default 1 s
	ReasonEvery   time.Duration // least time between two updates of a reason for waiting; default 1 s

	// UnmatchableGrace is how long a job waits while no open session could ever take
	// it, before it is completed with FAILED_PRECONDITION and the reason. 0: for ever.
	UnmatchableGrace time.Duration

	// Needs says what an action with these carried properties needs of its worker.
	// It is called with the scheduler's lock held. nil: a slot, and nothing else.
	Needs func(carried []queue.Property) Resources
	// RoomPatience is how long an action waits for room while others that need less
	// go before it, until a worker is kept free for it; default 30 s.
	RoomPatience time.Duration

	Retention    time.Duration // of finished jobs; default 24 h
	PruneEvery   time.Duration // default 1 min
	FinishedTTL  time.Duration // of operations answered from the cache; default 10 min
	FinishedMost int           // how many of those are kept, the newest; default 32768

	// Protect keeps an action and all its inputs from eviction for one protection
	// window. It is called for each unfinished job at Start and then every
	// ProtectEvery (default 45 min). nil: not called.
	Protect      func(ctx context.Context, action digest.Digest) error
	ProtectEvery time.Duration

	// CacheRoom tells whether the action cache takes results; an error says why not.
	// Then actions are completed without being cached: they do not wait for a disk
	// to be cleaned. nil: it always does.
	CacheRoom func() error

	Logger *slog.Logger // default: slog.Default()
}

// withDefaults returns o with the defaults filled in, or what is wrong with it.
func (o Options) withDefaults() (Options, error) {
	if o.Proposer == nil || o.Queue == nil || o.Blobs == nil || o.NodeID == "" {
		return o, errors.New("scheduler options: Proposer, Queue, Blobs and NodeID must be set")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Needs == nil {
		o.Needs = func([]queue.Property) Resources { return Resources{} }
	}
	if o.UnmatchableGrace < 0 {
		return o, errors.New("scheduler options: UnmatchableGrace is negative")
	}
	or(&o.SessionExpiry, 30*time.Second)
	or(&o.MaxAttempts, 5)
	or(&o.MaxLosses, 100)
	or(&o.CancelGrace, 5*time.Second)
	or(&o.RetryDelay, time.Second)
	or(&o.ReasonEvery, time.Second)
	or(&o.RoomPatience, 30*time.Second)
	or(&o.Retention, 24*time.Hour)
	or(&o.PruneEvery, time.Minute)
	or(&o.FinishedTTL, 10*time.Minute)
	or(&o.FinishedMost, 32768)
	or(&o.ProtectEvery, 45*time.Minute)
	return o, nil
}

// or sets what is not above zero to its default.
func or[T int | int32 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}
