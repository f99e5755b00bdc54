package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

// RaftOptions are what a Raft replicates, and with whom.
type RaftOptions struct {
	Queue       *queue.Store
	ActionCache ReplicatedCache
	// SyncBlobs makes every acknowledged blob durable; cheap when there is
	// nothing new. nil: there are no blobs.
	SyncBlobs func(context.Context) error
	// Observer is called on every member, leader or not. nil: nobody listens.
	Observer Observer
	// Replaced is called instead of Observer when the stores have got the state of
	// another member, at the index given: whoever keeps a copy reads it anew. The
	// same rules hold. nil: nobody wants to know.
	Replaced func(index uint64)
	Logger   *slog.Logger // nil: slog.Default()

	// Dir holds the log, the term, the vote and the snapshot markers, and nothing
	// else; it is created when absent. It belongs to the stores: neither is of use
	// without the other.
	Dir string
	// NodeID names this member for ever.
	NodeID string
	// Transport reaches the other members. Close closes it, when it can be closed.
	Transport raft.Transport
	// ElectionTimeout is how long a follower does without its leader before it
	// stands for election. A leader without a quorum steps down after half of it.
	// 0: DefaultElectionTimeout.
	ElectionTimeout time.Duration
	// SnapshotEvery is how many entries the log grows by before it is cut off, and
	// TrailingLogs how many stay then for followers that are a little behind. 0:
	// DefaultSnapshotEvery and DefaultTrailingLogs.
	SnapshotEvery, TrailingLogs uint64
	// MaxLogBytes bounds the log where its entries are large: it is cut off
	// earlier then. What one or two seconds bring comes on top. 0:
	// DefaultMaxLogBytes.
	MaxLogBytes int64
	// Now is the clock that stamps commands while this member leads: wrong clocks
	// must do no harm, which simulation tries out. nil: time.Now.
	Now func() time.Time
}

// Defaults of RaftOptions.
const (
	DefaultElectionTimeout = 500 * time.Millisecond
	DefaultSnapshotEvery   = 8192
	DefaultTrailingLogs    = 4096
	DefaultMaxLogBytes     = 64 << 20
)

// commitTimeout is after how long followers hear at the latest that the last entries
// are committed, up to twice as much. Each time costs a message to every follower,
// also on an idle cluster: 5 ms took a tenth of a core on the leader, 20 ms half of that.
const commitTimeout = 20 * time.Millisecond

// maxInFlight is how many groups are on their way through the log at once: one is
// written here while another is written by the followers and a third is applied.
const maxInFlight = 3

// Validate says what is wrong with o, or nil.
func (o RaftOptions) Validate() error {
	switch {
	case o.Queue == nil || o.ActionCache == nil:
		return errors.New("a queue and an action cache are needed")
	case o.Dir == "":
		return errors.New("the directory of the Raft log is not set")
	case o.NodeID == "":
		return errors.New("the node id is not set")
	case o.Transport == nil:
		return errors.New("a transport is needed")
	case o.ElectionTimeout < 0 || (o.ElectionTimeout > 0 && o.ElectionTimeout < 20*time.Millisecond):
		return fmt.Errorf("an election timeout of %s: at least 20ms are needed", o.ElectionTimeout)
	case o.MaxLogBytes < 0:
		return fmt.Errorf("a log of %d bytes: that is negative", o.MaxLogBytes)
	}
	return nil
}

func (o RaftOptions) withDefaults() RaftOptions {
	if o.Observer == nil {
		o.Observer = func(uint64, []queue.Event) {}
	}
	if o.Replaced == nil {
		o.Replaced = func(uint64) {}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.ElectionTimeout == 0 {
		o.ElectionTimeout = DefaultElectionTimeout
	}
	if o.SnapshotEvery == 0 {
		o.SnapshotEvery = DefaultSnapshotEvery
	}
	if o.TrailingLogs == 0 {
		o.TrailingLogs = DefaultTrailingLogs
	}
	if o.MaxLogBytes == 0 {
		o.MaxLogBytes = DefaultMaxLogBytes
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Raft is the Proposer of a member of a cluster: commands go through a replicated
// log, and each member applies them to stores of its own.
type Raft struct {
	o       RaftOptions
	log     *slog.Logger
	fsm     *fsm
	intake  *intake
	failure *failure
	snaps   *snapshots
	store   *raftboltdb.BoltStore
	sizes   *sizedLog      // over store
	entries *raft.LogCache // over sizes
	lead    *leadership
	reads   reads

	stop      context.Context //nolint:containedctx // ends when Close begins
	cancel    context.CancelFunc
	closeOnce sync.Once
	closeErr  error
	slots     chan struct{} // one for each group on its way
	flights   flights
	work      *tasks // what waits for an answer of node

	mu   sync.RWMutex
	node *raft.Raft // replaced by Bootstrap
}

var _ Proposer = (*Raft)(nil)

// OpenRaft starts a member. One that has no state yet waits to be bootstrapped,
// or to hear from the leader of a cluster that it was added to. The stores stay
// the caller's, to be closed after Close.
func OpenRaft(ctx context.Context, o RaftOptions) (*Raft, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("open raft: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open raft: %w", err)
	}
	r := &Raft{o: o.withDefaults(), intake: newIntake(), failure: newFailure(), work: newTasks(),
		slots: make(chan struct{}, maxInFlight)}
	r.log = r.o.Logger
	r.lead = newLeadership()
	r.stop, r.cancel = context.WithCancel(context.Background())
	if err := r.open(ctx); err != nil {
		r.cancel()
		return nil, fmt.Errorf("open raft in %s: %w", o.Dir, errors.Join(err, r.closeStore()))
	}
	go r.commit()
	go r.boundLog()
	return r, nil
}

func (r *Raft) open(ctx context.Context) (err error) {
	if err := os.MkdirAll(r.o.Dir, 0o700); err != nil {
		return err
	}
	if r.store, err = openLog(r.o.Dir); err != nil {
		return err
	}
	r.sizes = &sizedLog{LogStore: r.store}
	if r.entries, err = raft.NewLogCache(cachedEntries, r.sizes); err != nil {
		return err
	}
	r.fsm = &fsm{
		machine:  NewMachine(MachineOptions{Queue: r.o.Queue, ActionCache: r.o.ActionCache, SyncBlobs: r.o.SyncBlobs}),
		observer: r.o.Observer, replaced: r.o.Replaced, log: r.log, failure: r.failure, ctx: r.stop, handOver: r.handOver,
		changed: make(chan struct{}), entries: r.entries, keep: r.sizes.keep.Store,
	}
	r.snaps, err = openSnapshots(r.stop, r.o.Dir, stores{r.o.Queue, r.o.ActionCache}, r.log)
	if err != nil {
		return err
	}
	r.fsm.snaps = r.snaps
	if err := r.fsm.finish(ctx); err != nil {
		return fmt.Errorf("take over the state of the leader, which was interrupted: %w", err)
	}
	r.fsm.advance(r.snaps.index())
	return r.start()
}

// start makes the node of what is on the disk. Nobody else uses it yet, or mu is
// held.
func (r *Raft) start() error {
	if err := errors.Join(r.ensureTerm(), continueLog(r.entries, r.snaps.marker())); err != nil {
		return err
	}
	r.sizes.keep.Store(r.snaps.index())
	node, err := raft.NewRaft(r.config(), r.fsm, r.entries, patientStable{r.store, r.stop, r.log}, r.snaps,
		wrapTransport(r.o.Transport, r.stop.Done()))
	if err != nil {
		return err
	}
	r.node = node
	r.lead.watch(node)
	return nil
}

func (r *Raft) config() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(r.o.NodeID)
	c.HeartbeatTimeout, c.ElectionTimeout = r.o.ElectionTimeout, r.o.ElectionTimeout
	c.LeaderLeaseTimeout = r.o.ElectionTimeout / 2
	c.CommitTimeout = commitTimeout
	c.SnapshotInterval = time.Second
	c.SnapshotThreshold, c.TrailingLogs = r.o.SnapshotEvery, r.o.TrailingLogs
	c.NoSnapshotRestoreOnStart = true // the stores are the state
	c.ShutdownOnRemove = false
	c.NoLegacyTelemetry = true
	c.Logger = raftLogger(r.log)
	return c
}

// raft returns the node.
func (r *Raft) raft() *raft.Raft {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.node
}

// Failed is closed when the state machine has stopped for good: the node must
// stop. Err says why.
func (r *Raft) Failed() <-chan struct{} { return r.failure.ch }

// Err returns why Failed is closed; nil before.
func (r *Raft) Err() error { return r.failure.get() }
