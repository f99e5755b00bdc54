// Package cluster makes a node a member of a grid of several: it forms or joins a
// cluster, keeps the replicated log's connections, hands commands to the leader,
// and knows which members can be reached. See DESIGN.md.
package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/bgrid-node/bgrid-node/node/cluster/link"
	"github.com/bgrid-node/bgrid-node/raftfsm"
)

// What callers tell apart.
var (
	// ErrNoQuorum means that the node has not known a leader for so long that
	// waiting is no help: UNAVAILABLE.
	ErrNoQuorum = errors.New("this node has no quorum")
	// ErrNotMember means that no node of that id is a member.
	ErrNotMember = errors.New("no member of the cluster")
	// ErrClosed means that Close was called.
	ErrClosed = errors.New("the cluster is closed")
)

// Cluster is this node's membership.
type Cluster struct {
	o        Options
	log      *slog.Logger
	id       *identity
	instance []byte // of this process
	hadData  bool   // of a life before any cluster

	self   *link.Self
	dialer *link.Dialer
	server *link.Server
	stream *streamLayer
	trans  *transport
	raft   *raftfsm.Raft
	rpc    *grpc.Server
	book   *book

	changed  *notifier     // members, reachability, leader, quorum
	wake     chan struct{} // has the life go on at once
	formed   chan struct{}
	once     sync.Once // closes formed
	reads    readers
	patience time.Duration // without a quorum, after which reads fail

	mu      sync.Mutex
	view    view               // as the watch saw it last
	remotes map[string]*remote // the other members, by id
	problem string             // what keeps this node from being a member
	joined  map[string]string  // on the leader: the process of a member that joined, by id
	joining turn               // one change of the configuration at a time, on the leader

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup
	closed sync.Once
}

// view is the cluster as this node knows it.
type view struct {
	members []Member
	leader  string // id; empty: none is known
	quorum  bool
	since   time.Time // of the last change of quorum
}

// Member is a node of the cluster.
type Member struct {
	ID      string
	Address string // HOST:PORT of its peer port
	Voter   bool   // false: it has not caught up yet
}

// Open starts to form or join a cluster, or goes on as the member that the node
// was, and returns without waiting for either; see Formed and Quorum. An error
// means that the options, or what is on the disk, are wrong.
func Open(ctx context.Context, o Options) (*Cluster, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Raft.ElectionTimeout == 0 {
		o.Raft.ElectionTimeout = raftfsm.DefaultElectionTimeout
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open cluster: %w", err)
	}
	id, err := openIdentity(o.Dir, o.NodeID)
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		o: o, log: o.Logger, id: id, instance: make([]byte, 16),
		book: newBook(), changed: newNotifier(), remotes: map[string]*remote{}, joined: map[string]string{},
		wake: make(chan struct{}, 1), formed: make(chan struct{}), joining: newTurn(),
		view: view{since: time.Now()}, patience: noQuorumPatience,
	}
	_, _ = rand.Read(c.instance) // never fails
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.reads.c = c
	c.self = &link.Self{Token: o.Token, Hello: c.hello, Admit: c.admit, Met: c.met}
	c.dialer = &link.Dialer{Self: c.self, Dial: o.Dial}
	if err := c.start(ctx); err != nil {
		c.cancel()
		return nil, err
	}
	return c, nil
}

// start opens the log, then the port: nobody is answered before.
func (c *Cluster) start(ctx context.Context) error {
	c.stream = newStreamLayer(c)
	c.trans = newTransport(c)
	o := c.o.Raft
	o.Dir, o.NodeID, o.Transport, o.Logger = filepath.Join(c.o.Dir, "raft"), c.o.NodeID, c.trans, c.log
	var err error
	if c.raft, err = raftfsm.OpenRaft(ctx, o); err != nil {
		return errors.Join(err, c.trans.Close())
	}
	if err := c.checkState(); err != nil {
		return errors.Join(err, c.raft.Close())
	}
	c.rpc = c.newServer()
	if c.server, err = link.Listen(c.o.Listener, c.self, c.log); err != nil {
		return errors.Join(err, c.raft.Close())
	}
	c.work.Go(func() { c.stream.accept(c.server.Listener(link.Raft)) })
	for _, kind := range []link.Kind{link.Member, link.Open} {
		c.work.Go(func() { _ = c.rpc.Serve(c.server.Listener(kind)) })
	}
	c.look()
	c.work.Go(c.watch)
	c.work.Go(c.live)
	return nil
}

// checkState compares the log with the identity.
func (c *Cluster) checkState() error {
	has, err := c.raft.HasState()
	if err != nil {
		return err
	}
	if !has {
		c.hadData = c.o.Raft.Queue.AppliedIndex() > 0 || c.o.Raft.ActionCache.AppliedIndex() > 0
		return nil
	}
	if r := c.id.get(); r.ClusterID == "" && r.Grant == nil {
		return fmt.Errorf("open cluster: %s holds a log, but %s does not say of which cluster: was it deleted?", filepath.Join(c.o.Dir, "raft"), c.id.path)
	}
	return c.settle()
}

// settle makes the cluster whose log this node holds its own, for good.
func (c *Cluster) settle() error {
	return c.id.update(func(r *record) error {
		if r.ClusterID == "" && r.Grant != nil {
			r.ClusterID, r.Grant = r.Grant.ClusterID, nil
		}
		return nil
	})
}

// Raft returns the log itself. Its Propose works only on the leader.
func (c *Cluster) Raft() *raftfsm.Raft { return c.raft }

// Self returns this node's id.
func (c *Cluster) Self() string { return c.o.NodeID }

// Members returns the members as this node's log has them, by id; none before the
// node is a member. The slice must not be changed.
func (c *Cluster) Members() []Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view.members
}

// Leader returns who leads, as far as this node knows.
func (c *Cluster) Leader() (id string, ok bool) {
	if c.id.get().Removed {
		return "", false
	}
	id = c.raft.Leader()
	return id, id != ""
}

// Changed returns a channel that is closed at the next change of members,
// leader, quorum or of what can be reached.
func (c *Cluster) Changed() <-chan struct{} { return c.changed.next() }

// Formed is closed once this node is a member and has begun to follow the log.
func (c *Cluster) Formed() <-chan struct{} { return c.formed }

// Quorum tells whether this node is a member that leads, or heard of the leader
// within the election time-out, and since when that is so or is not.
func (c *Cluster) Quorum() (ok bool, since time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view.quorum, c.view.since
}

// Transfer hands leadership over, if this node leads and there is another to take
// it. When it returns nil then, this node leads no longer.
func (c *Cluster) Transfer(ctx context.Context) error {
	if !c.raft.IsLeader() || !c.hasHeir() {
		return nil
	}
	return c.raft.Transfer(ctx)
}

// hasHeir tells whether another member has a vote.
func (c *Cluster) hasHeir() bool {
	return slices.ContainsFunc(c.Members(), func(m Member) bool { return m.Voter && m.ID != c.o.NodeID })
}

// Failed is closed when the node must stop; Err says why.
func (c *Cluster) Failed() <-chan struct{} { return c.raft.Failed() }

// Err returns why Failed is closed; nil before.
func (c *Cluster) Err() error { return c.raft.Err() }

// Close stops taking part, at once: hand leadership over before, with Transfer.
// The stores stay the caller's.
func (c *Cluster) Close() error {
	var err error
	c.closed.Do(func() {
		c.cancel()
		c.changed.fire()
		c.rpc.Stop()
		err = errors.Join(c.server.Close(), c.raft.Close())
		c.mu.Lock()
		for _, r := range c.remotes {
			r.close()
		}
		c.mu.Unlock()
		c.work.Wait()
	})
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
