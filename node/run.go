package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/grpc"
)

// stopGrace is how long calls that are being answered, and the last pages, may
// take once nothing new is taken.
const stopGrace = 5 * time.Second

// Run serves until ctx ends, then drains: no new actions are taken, those that
// run may finish within Config.DrainTimeout, what is left goes back to the queue
// for the next start, and streams that wait end with UNAVAILABLE, which clients
// answer by asking again. It returns early with an error when the node cannot go
// on.
func (n *Node) Run(ctx context.Context) error {
	failed := make(chan error, 3) // one for each that can fail
	go serve(failed, "gRPC", func() error { return n.server.Serve(n.grpc) }, grpc.ErrServerStopped)
	if n.pages != nil {
		go serve(failed, "HTTP", func() error { return n.pages.Serve(n.http) }, http.ErrServerClosed)
	}
	n.startWorkers(failed)
	n.logger.Info("serving", keyAddress, n.grpc.Addr().String(), "instance", n.config.Instance, keyDir, n.config.DataDir,
		"slots", n.config.Slots, keyDuration, time.Since(n.options.Started))
	var err error
	select {
	case <-ctx.Done():
		n.drain()
	case err = <-failed:
	case <-n.proposer.Failed():
		err = n.proposer.Err()
	}
	return errors.Join(err, n.stop())
}

// drain takes no new work and waits for what runs.
func (n *Node) drain() {
	start := time.Now()
	n.draining.Store(true)
	n.health.Shutdown()
	ctx, cancel := context.WithTimeout(context.Background(), n.config.DrainTimeout)
	defer cancel()
	err := n.scheduler.Drain(ctx)
	if err == nil {
		select {
		case <-n.workers.ended:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		n.logger.Warn("running actions did not end in time; they run again after the next start", "limit", n.config.DrainTimeout)
		return
	}
	n.logger.Info("drained", keyDuration, time.Since(start))
}

// stop ends everything in the opposite order of New.
func (n *Node) stop() error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	err := n.killWorkers(ctx)
	n.endWaits()
	ended := make(chan struct{})
	go func() { n.server.GracefulStop(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
		n.server.Stop()
		<-ended
	}
	if n.pages != nil {
		_ = n.pages.Close() // pages that are kept up to date never end by themselves
	}
	err = errors.Join(err, n.closers.close())
	n.logger.Info("stopped", keyDuration, time.Since(start))
	return err
}

// serve sends what ended a server to failed, unless it was asked to end.
func serve(failed chan<- error, what string, do func() error, asked error) {
	if err := do(); err != nil && !errors.Is(err, asked) {
		failed <- fmt.Errorf("serve %s: %w", what, err)
	}
}
