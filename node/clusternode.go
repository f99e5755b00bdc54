package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/node/cluster"
	"github.com/bgrid-node/bgrid-node/node/cluster/placement"
	"github.com/bgrid-node/bgrid-node/node/cluster/route"
	"github.com/bgrid-node/bgrid-node/node/logstream"
	"github.com/bgrid-node/bgrid-node/node/reapi"
	"github.com/bgrid-node/bgrid-node/raftfsm"
)

// clusterDir is where a member keeps its identity and its log, in the data
// directory.
const clusterDir = "cluster"

// openCommands starts the command log: of this node alone, or of the cluster.
func (n *Node) openCommands(ctx context.Context) error {
	if n.config.Clustered() {
		return n.openCluster(ctx)
	}
	return n.openLog(ctx)
}

// openCluster begins to form or join the cluster, and to lead it when elected.
func (n *Node) openCluster(ctx context.Context) error {
	o, err := n.clusterOptions()
	if err != nil {
		return err
	}
	leader := &leader{self: o.NodeID}
	if err := n.openRouter(leader); err != nil { // its services are there for peers from the beginning
		return err
	}
	if n.cluster, err = cluster.Open(ctx, o); err != nil {
		return err
	}
	n.closers.add("cluster", n.cluster.Close)
	n.proposer, n.failed, n.failure = n.cluster.Proposer(), n.cluster.Failed(), n.cluster.Err
	leader.cluster.Store(n.cluster)
	n.placement.Join(peers{n.cluster})
	n.startTerms()
	n.startEvicting()
	return nil
}

func (n *Node) clusterOptions() (cluster.Options, error) {
	c := &n.config.Cluster
	source, err := cluster.ParsePeers(c.Peers)
	if err != nil {
		return cluster.Options{}, err
	}
	advertise, err := n.config.advertised()
	if err != nil {
		return cluster.Options{}, err
	}
	return cluster.Options{
		NodeID: c.NodeID, Advertise: advertise, Listener: n.peerPort, Token: n.token, Peers: source, Expect: c.BootstrapExpect,
		Dir: filepath.Join(n.config.DataDir, clusterDir),
		Raft: raftfsm.RaftOptions{
			Queue: n.stores.queue, ActionCache: raftfsm.CacheOf(n.stores.results), SyncBlobs: n.stores.cas.Sync,
			Observer: n.observe, ElectionTimeout: c.ElectionTimeout,
		},
		Settings: map[string]string{
			"instance":          n.config.Instance,
			"max-cache-entries": strconv.Itoa(n.config.MaxCacheEntries),
			"replicas":          strconv.Itoa(c.Replicas),
		},
		Register: n.registerForPeers,
		// The waiting streams of all clients of a node go over one connection: a bound, once
		// reached, would keep out the bots that they wait for.
		ServerOptions: append(reapi.ServerOptions(), grpc.MaxConcurrentStreams(math.MaxUint32)),
		DialOptions:   placement.DialOptions(),
		Disk:          n.diskUse, Build: n.options.Build.Version, Logger: n.logger,
	}, nil
}

// openRouter makes every call that needs the leader go there.
func (n *Node) openRouter(c route.Cluster) (err error) {
	n.router, err = route.New(route.Options{
		Cluster: c, Verify: n.leads, Logger: n.logger,
	})
	if err != nil {
		return err
	}
	n.closers.add("router", n.router.Close)
	for _, d := range []*grpc.ServiceDesc{&repb.Execution_ServiceDesc, &longrunningpb.Operations_ServiceDesc, &botspb.Bots_ServiceDesc} {
		if err := n.router.Handle(d); err != nil {
			return err
		}
	}
	return nil
}

// registerForPeers is what the other nodes ask of this one: its own blobs and log
// streams, and while it leads, what only the leader has.
func (n *Node) registerForPeers(s grpc.ServiceRegistrar) {
	err := reapi.RegisterBlobs(s, reapi.BlobsOptions{
		Store: n.stores.cas, Streams: n.streams, LogBlobs: n.storage, Instance: n.config.Instance, Closing: n.closing, Logger: n.logger,
	})
	if err != nil {
		n.logger.Error("serve peers", keyError, err)
	}
	n.router.RegisterPeer(reapi.Guard(s, n.logger))
	registerPages(s, n)
}

// leader is the cluster as the router sees it, from before it is open.
type leader struct {
	self    string
	cluster atomic.Pointer[cluster.Cluster]
}

// Self implements route.Cluster.
func (l *leader) Self() string { return l.self }

// Leader implements route.Cluster.
func (l *leader) Leader() (string, bool) {
	if c := l.cluster.Load(); c != nil {
		return c.Leader()
	}
	return "", false
}

// Changed implements route.Cluster.
func (l *leader) Changed() <-chan struct{} {
	if c := l.cluster.Load(); c != nil {
		return c.Changed()
	}
	return nil // the router looks by itself as well
}

// Conn implements route.Cluster.
func (l *leader) Conn(id string) (*grpc.ClientConn, error) {
	if c := l.cluster.Load(); c != nil {
		return c.Conn(id)
	}
	return nil, cluster.ErrNotMember
}

// readBarrier is reapi.Options.ReadBarrier.
func (n *Node) readBarrier(ctx context.Context) error {
	err := n.cluster.ReadBarrier(ctx)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: %w", raftfsm.ErrUnavailable, err)
	}
	return err
}

// elsewhere is reapi.Options.Elsewhere.
func (n *Node) elsewhere(id string) (grpc.ClientConnInterface, error) {
	if id == "" || id == n.cluster.Self() {
		return nil, nil
	}
	conn, err := n.cluster.Conn(id)
	if errors.Is(err, cluster.ErrNotMember) {
		return nil, fmt.Errorf("%w: node %s is gone", logstream.ErrNotFound, id)
	}
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// peers is the cluster as placement sees it.
type peers struct{ *cluster.Cluster }

var _ placement.Peers = peers{}

// Members implements placement.Peers: the ids of those that hold blobs.
func (p peers) Members() []string {
	var ids []string
	for _, m := range p.Cluster.Members() {
		if m.Voter {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// Quorum implements placement.Peers.
func (p peers) Quorum() bool {
	ok, _ := p.Cluster.Quorum()
	return ok
}

// diskUse tells the bytes that the data take, and those that the disk has left.
func (n *Node) diskUse() (used, free uint64) {
	used = uint64(max(0, n.stores.cas.Stats().DiskBytes+n.stores.results.Stats().DiskBytes))
	var s syscall.Statfs_t
	if err := syscall.Statfs(n.config.DataDir, &s); err != nil {
		return used, 0
	}
	return used, s.Bavail * uint64(s.Bsize)
}

// bindPeers reads the token and takes the address for the other nodes: what is
// wrong with them is found before the stores are opened.
func (n *Node) bindPeers(ctx context.Context) (err error) {
	if !n.config.Clustered() {
		return nil
	}
	if n.token, err = readToken(n.config.Cluster.TokenFile); err != nil {
		return err
	}
	if n.peerPort, err = listen(ctx, "peer-listen", n.config.Cluster.PeerListen); err != nil {
		return err
	}
	n.closers.add("peer listener", ignoreClosed(n.peerPort.Close))
	return nil
}
