// Package placement keeps each blob of a cluster on several of its members, over
// the store of this node and the stores of the others. See DESIGN.md.
package placement

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/bgrid-node/bgrid-node/store/cas"
)

// Peers is the cluster as this package needs it. Its methods are called often and
// do not block.
type Peers interface {
	// Self is the id of this node.
	Self() string
	// Members are the ids of the voters, this node's among them once it is one.
	Members() []string
	// Reachable tells whether a member answers now. One that does not is noticed
	// within a second or so: calls to it hang until then.
	Reachable(id string) bool
	// Conn is a connection to the internal server of a member, where
	// reapi.RegisterBlobs serves.
	Conn(id string) (*grpc.ClientConn, error)
	// Changed returns a channel that is closed when one of the answers above may have
	// changed. It is asked for anew after each change.
	Changed() <-chan struct{}
	// Quorum tells whether this node sees a majority of the members.
	Quorum() bool
}

// DefaultReplicas is how many copies of a blob there are unless configured.
const DefaultReplicas = 2

// Options configures Blobs.
type Options struct {
	// Local is the store of this node. Required; it outlives Blobs.
	Local *cas.Store
	// Replicas is how many members keep a blob; all of them in a smaller cluster. 0
	// means DefaultReplicas.
	Replicas int
	// Patience is how long calls wait for members that went away a moment ago. 0 means
	// DefaultPatience.
	Patience time.Duration
	// Logger is slog.Default() when nil.
	Logger *slog.Logger
}

// Validate says what is wrong with o, or nil.
func (o Options) Validate() error {
	switch {
	case o.Local == nil:
		return errors.New("placement: Local must be set")
	case o.Replicas < 0 || o.Replicas > maxMembers:
		return errors.New("placement: Replicas must be between 1 and 64")
	}
	return nil
}

// Blobs is the content-addressable storage of a cluster, as each of its nodes has
// it. It offers what *cas.Store offers to those who read and write blobs, with the
// same errors, and cas.ErrUnavailable beside them. Before Join, and while this node
// is the only member, it is the local store and nothing else. Its methods may be
// called concurrently.
type Blobs struct {
	local    *cas.Store
	replicas int
	patience time.Duration
	log      *slog.Logger

	looking  sync.Mutex // held while a new view is made
	view     atomic.Pointer[view]
	losses   atomic.Uint64 // members that went away with their copies
	eras     eras
	memo     memo
	repairs  repairs
	counters counters

	tasks  tasks
	done   context.Context //nolint:containedctx // the life of Blobs
	finish context.CancelFunc
}

// tasks are what goes on in the background.
type tasks struct {
	mu     sync.Mutex
	closed bool
	group  sync.WaitGroup
}

// start runs do in the background, unless Blobs is closed.
func (t *tasks) start(do func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.group.Go(do)
	}
	return !t.closed
}

// end waits for all of them.
func (t *tasks) end() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.group.Wait()
}

// New returns the storage of a node that is alone until Join.
func New(o Options) (*Blobs, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	b := &Blobs{local: o.Local, replicas: o.Replicas, patience: o.Patience, log: o.Logger}
	if b.patience == 0 {
		b.patience = DefaultPatience
	}
	if b.replicas == 0 {
		b.replicas = DefaultReplicas
	}
	if b.log == nil {
		b.log = slog.Default()
	}
	b.done, b.finish = context.WithCancel(context.Background())
	b.repairs = make(repairs, repairSlots)
	b.view.Store(&view{self: nobody})
	return b, nil
}

// Join makes blobs go to the members of a cluster, and be looked for there. It is
// called once.
func (b *Blobs) Join(peers Peers) {
	changed := peers.Changed()
	b.look(peers)
	b.tasks.start(func() {
		for {
			select {
			case <-changed:
			case <-b.done.Done():
				return
			}
			changed = peers.Changed()
			b.look(peers)
		}
	})
}

// Close ends what goes on in the background. Calls that still run may fail.
func (b *Blobs) Close() error {
	b.finish()
	b.tasks.end()
	return nil
}

// Bucket is the time for which a caller may remember that a blob was found present.
func (b *Blobs) Bucket() time.Duration { return b.local.Bucket() }

// LossEpoch grows when blobs may have been lost that somebody relies on: from this
// disk, or because a member left or cannot be reached.
func (b *Blobs) LossEpoch() uint64 { return b.local.LossEpoch() + b.losses.Load() }
