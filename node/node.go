package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/bgrid-node/bgrid-node/node/admin"
	"github.com/bgrid-node/bgrid-node/node/cluster"
	"github.com/bgrid-node/bgrid-node/node/cluster/placement"
	"github.com/bgrid-node/bgrid-node/node/cluster/route"
	"github.com/bgrid-node/bgrid-node/node/logstream"
	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/raftfsm"
)

// Options is what New needs beside the configuration.
type Options struct {
	Build   Build
	Logger  *slog.Logger
	Started time.Time // of the process, for the time to the first answer in the log
}

// Validate names what is missing.
func (o *Options) Validate() error {
	if o.Logger == nil {
		return errors.New("node: Logger must be set")
	}
	return nil
}

// Node is a whole grid in one process.
type Node struct {
	config  Config
	options Options
	logger  *slog.Logger
	closers closers

	dir       *dataDir
	stores    stores
	storage   blobStorage      // of this node, or of the whole cluster
	placement *placement.Blobs // the latter
	proposer  raftfsm.Proposer
	failed    <-chan struct{}                 // closed when the state machine has stopped for good
	failure   func() error                    // why
	scheduler atomic.Pointer[sched.Scheduler] // nil while this node does not lead
	cluster   *cluster.Cluster                // nil: the node stands alone
	router    *route.Router                   // with the cluster
	streams   *logstream.Hub
	workers   workers
	inner     inner

	grpc     net.Listener
	peerPort net.Listener // for the other nodes
	token    []byte       // that they share
	http     net.Listener // nil: off
	front    *front
	probes   *probes
	pages    *http.Server
	metrics  *admin.Metrics

	dangling chan dangling
	draining atomic.Bool
	serving  atomic.Bool // the node has, or had a moment ago, what it needs to answer
	drained  drainer
	closing  context.Context // ends when waiting streams are to end
	endWaits context.CancelFunc
}

// New opens everything that the configuration names, and answers gRPC and HTTP
// only once Run is called. Its errors are one line for people.
//
// The order is that of the layers, from the disk up; what is wrong with the
// configuration or the machine is found before any store is opened.
func New(ctx context.Context, cfg Config, o Options) (_ *Node, err error) {
	if err := errors.Join(cfg.Validate(), o.Validate()); err != nil {
		return nil, err
	}
	n := &Node{config: cfg, options: o, logger: o.Logger, closers: closers{logger: o.Logger}, metrics: admin.NewMetrics(),
		dangling: make(chan dangling, maxDangling), drained: drainer{done: make(chan struct{})}}
	n.closing, n.endWaits = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			n.endWaits()
			err = errors.Join(err, n.closers.close())
		}
	}()
	for _, start := range []func(context.Context) error{
		n.openDir, n.bind, n.bindPeers,
		n.openStores, n.openStreams, n.openCommands,
		n.openServer, n.openPages, n.openWorkers,
	} {
		if err := start(ctx); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (n *Node) openDir(context.Context) (err error) {
	if n.dir, err = openDataDir(n.config.DataDir); err != nil {
		return err
	}
	n.closers.add("data directory", n.dir.close)
	if n.dir.crashed {
		n.logger.Warn("the last process did not end cleanly; nothing that it acknowledged is lost", keyDir, n.config.DataDir, "times", n.dir.unclean)
	}
	return nil
}

// bind takes the addresses early: a port in use is found before the stores are
// opened.
func (n *Node) bind(ctx context.Context) (err error) {
	if n.grpc, err = listen(ctx, "listen", n.config.Listen); err != nil {
		return err
	}
	n.closers.add("gRPC listener", ignoreClosed(n.grpc.Close))
	if n.config.HTTPListen == Off {
		return nil
	}
	if n.http, err = listen(ctx, "http-listen", n.config.HTTPListen); err != nil {
		return err
	}
	n.closers.add("HTTP listener", ignoreClosed(n.http.Close))
	return nil
}

// ignoreClosed is for listeners, which their servers close first.
func ignoreClosed(do func() error) func() error {
	return func() error {
		if err := do(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}
