package node

import (
	"context"
	"sync"
	"time"
)

// drainer is a drain that happens once, however often it is asked for.
type drainer struct {
	once sync.Once
	done chan struct{}
}

// drainOnce begins to drain, if that has not begun, and returns what is closed at
// the end of it.
func (n *Node) drainOnce() <-chan struct{} {
	n.drained.once.Do(func() {
		go func() {
			defer close(n.drained.done)
			n.drain()
		}()
	})
	return n.drained.done
}

// Drain takes no new work and waits until what runs here has ended, or for
// Config.DrainTimeout. The node goes on to answer until it is stopped: in a cluster
// it hands its leadership over first, and stays a member.
func (n *Node) Drain(ctx context.Context) error {
	select {
	case <-n.drainOnce():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drain takes no new work and waits for what runs.
func (n *Node) drain() {
	start := time.Now()
	n.draining.Store(true)
	n.probes.set(false)
	ctx, cancel := context.WithTimeout(context.Background(), n.config.DrainTimeout)
	defer cancel()
	err := n.leaveWork(ctx)
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

// leaveWork gives out no more work on this node. A member of a cluster lets another
// one lead.
func (n *Node) leaveWork(ctx context.Context) error {
	if n.cluster == nil {
		return n.scheduler.Load().Drain(ctx)
	}
	if n.workers.leave != nil {
		n.workers.leave()
	}
	if err := n.cluster.Transfer(ctx); err != nil {
		n.logger.Warn("leadership was not handed over; the others elect a leader when this node is gone", keyError, err)
	}
	return nil
}
