package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
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

	dir    *dataDir
	grpc   net.Listener
	http   net.Listener // nil: off
	server *grpc.Server
	health *health.Server
}

// New opens everything that the configuration names, and answers gRPC and HTTP
// only once Run is called. Its errors are one line for people.
func New(ctx context.Context, cfg Config, o Options) (n *Node, err error) {
	if err := errors.Join(cfg.Validate(), o.Validate()); err != nil {
		return nil, err
	}
	n = &Node{config: cfg, options: o, logger: o.Logger, closers: closers{logger: o.Logger}}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.closers.close())
		}
	}()
	for _, start := range []func(context.Context) error{
		n.openDir, n.bind, n.openServer,
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
	return nil
}

func (n *Node) bind(ctx context.Context) (err error) {
	if n.grpc, err = listen(ctx, "listen", n.config.Listen); err != nil {
		return err
	}
	n.closers.add("gRPC listener", n.grpc.Close)
	return nil
}

func (n *Node) openServer(context.Context) error {
	n.server = grpc.NewServer()
	n.health = health.NewServer()
	healthpb.RegisterHealthServer(n.server, n.health)
	return nil
}

// Welcome returns the lines to paste that connect each client.
func (n *Node) Welcome() string { return "" }

// Run serves until ctx ends.
func (n *Node) Run(ctx context.Context) error {
	go func() { _ = n.server.Serve(n.grpc) }()
	<-ctx.Done()
	n.server.Stop()
	return nil
}
