package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/bgrid-node/bgrid-node/node/cluster"
	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/raftfsm/invariants"
	"github.com/bgrid-node/bgrid-node/store/actioncache"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// fleet is a number of nodes that form a cluster by themselves, by node/cluster:
// discovery, founding, joining, forwarding and the read barrier, over streams. There
// is no scheduler; clients write and read results.
type fleet struct {
	o       options
	dir     string
	log     *slog.Logger
	net     *network
	streams *streams
	blobs   *blobs
	members []*member

	groups *invariants.Groups
	acks   *invariants.Acknowledged

	staleReads bool // a planted bug: a member answers from its store without asking the leader

	mu     sync.Mutex
	broken []error
	puts   int
	reads  int
	starts int
	wipes  int
}

// member is a node of a fleet.
type member struct {
	f    *fleet
	id   string
	mu   sync.Mutex // guards what follows
	dirs int
	up   *process // nil while it is down
}

// process is a member while it runs.
type process struct {
	*cluster.Cluster
	queue *queue.Store
	cache *actioncache.Store
}

func newFleet(dir string, o options) *fleet {
	f := &fleet{
		o: o, dir: dir, log: slog.New(slog.DiscardHandler), net: newNetwork(rand.New(rand.NewPCG(o.seed, 1))), blobs: newBlobs(),
		groups: invariants.NewGroups(), acks: invariants.NewAcknowledged(),
	}
	if o.verbose {
		f.log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	f.streams = newStreams(f.net)
	for i := range o.nodes {
		f.members = append(f.members, &member{f: f, id: fmt.Sprint("m", i)})
	}
	return f
}

func (f *fleet) fail(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.broken) < 20 {
		f.broken = append(f.broken, fmt.Errorf(format, args...))
	}
}

func (f *fleet) note(err error) {
	if err != nil {
		f.fail("%w", err)
	}
}

func (f *fleet) count(n *int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*n++
}

func (m *member) running() *process {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.up
}

// start begins a process on what the one before left.
func (m *member) start() error {
	f := m.f
	f.count(&f.starts)
	dir := filepath.Join(f.dir, fmt.Sprint(m.id, "-", m.dirs))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ctx := context.Background()
	jobs, err := queue.Open(ctx, queue.Options{Path: filepath.Join(dir, "queue"), LazySync: true, Logger: f.log})
	if err != nil {
		return err
	}
	results, err := actioncache.Open(ctx, actioncache.Options{Dir: filepath.Join(dir, "cache"), Blobs: f.blobs, MemoBytes: 1 << 20, Logger: f.log})
	if err != nil {
		return errors.Join(err, jobs.Close())
	}
	f.groups.Restarted(m.id)
	c, err := cluster.Open(ctx, m.options(dir, jobs, results))
	if err != nil {
		return errors.Join(err, results.Close(), jobs.Close())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.up = &process{c, jobs, results}
	return nil
}

func (m *member) options(dir string, jobs *queue.Store, results *actioncache.Store) cluster.Options {
	f := m.f
	peers := cluster.StaticPeers{}
	for _, other := range f.members {
		peers = append(peers, hostAddr(other.id).String())
	}
	return cluster.Options{
		NodeID: m.id, Advertise: hostAddr(m.id).String(), Listener: f.streams.listen(m.id),
		Dial:  func(ctx context.Context, addr string) (net.Conn, error) { return f.streams.dial(ctx, m.id, addr) },
		Token: []byte("the token of the simulation"), Peers: peers, Expect: len(f.members), Dir: filepath.Join(dir, "cluster"),
		Raft: raftfsm.RaftOptions{
			Queue: jobs, ActionCache: raftfsm.CacheOf(results), SnapshotEvery: f.o.snapshotEvery, TrailingLogs: f.o.snapshotEvery / 2,
			Observer: func(index uint64, events []queue.Event) { f.groups.Observe(m.id, index, events, jobs.AppliedIndex()) },
		},
		Register: func(grpc.ServiceRegistrar) {}, Build: "simulation", Logger: f.log,
	}
}

// stop ends a process. wiped: with its disk.
func (m *member) stop(wiped bool) error {
	m.mu.Lock()
	p := m.up
	m.up = nil
	if wiped {
		m.dirs++
	}
	m.mu.Unlock()
	if p == nil {
		return nil
	}
	return errors.Join(p.Close(), p.cache.Close(), p.queue.Close())
}

// whole tells whether all members are voters of one cluster and have all that is
// committed.
func (f *fleet) whole(ctx context.Context) bool {
	id := ""
	for _, m := range f.members {
		p := m.running()
		if p == nil {
			return false
		}
		ask, cancel := context.WithTimeout(ctx, 5*time.Second)
		s := p.Status(ask)
		err := p.ReadBarrier(ask)
		cancel()
		if err != nil || s.ClusterID == "" || len(s.Members) != len(f.members) {
			return false
		}
		for _, member := range s.Members {
			if !member.Voter || member.Lag > 0 {
				return false
			}
		}
		if id == "" {
			id = s.ClusterID
		}
		if s.ClusterID != id {
			f.fail("members %s and %s are of two clusters", f.members[0].id, m.id)
		}
	}
	return true
}

// becomesWhole waits for that.
func (f *fleet) becomesWhole(ctx context.Context) error {
	for !f.whole(ctx) {
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
