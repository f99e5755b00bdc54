package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
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
	n.front.Serve(failed)
	if n.pages != nil {
		go serve(failed, "HTTP", func() error { return n.pages.Serve(n.http) }, http.ErrServerClosed)
	}
	n.startWorkers(failed)
	if n.cluster != nil {
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		go n.followQuorum(ctx)
	}
	n.logger.Info("serving", keyAddress, n.grpc.Addr().String(), "instance", n.config.Instance, keyDir, n.config.DataDir,
		"slots", n.config.Slots, keyDuration, time.Since(n.options.Started))
	var err error
	select {
	case <-ctx.Done():
		<-n.drainOnce()
	case err = <-failed:
	case <-n.failed:
		err = n.failure()
	}
	return errors.Join(err, n.stop())
}

// stop ends everything in the opposite order of New.
func (n *Node) stop() error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	err := n.killWorkers(ctx)
	n.endWaits()
	if n.router != nil {
		err = errors.Join(err, n.router.Close())
	}
	n.front.Stop(ctx)
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
