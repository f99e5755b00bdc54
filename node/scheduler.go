package node

import (
	"context"
	"fmt"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/node/admin"
	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// openScheduler starts the command log and, on top of it, the scheduler, which
// finds what an earlier process left unfinished.
func (n *Node) openScheduler(ctx context.Context) (err error) {
	var scheduler *sched.Scheduler
	n.proposer, err = raftfsm.OpenLocal(ctx, raftfsm.LocalOptions{
		Queue: n.stores.queue, ActionCache: raftfsm.CacheOf(n.stores.results), SyncBlobs: n.stores.cas.Sync, Logger: n.logger,
		Observer: func(index uint64, events []queue.Event) {
			n.count(events)
			if scheduler != nil {
				scheduler.Observe(index, events)
			}
		},
	})
	if err != nil {
		return err
	}
	n.closers.add("command log", n.proposer.Close)
	evicting, endEvicting := context.WithCancel(context.Background())
	evicted := make(chan struct{})
	go func() { defer close(evicted); n.evictDangling(evicting) }()
	n.closers.add("action cache eviction", func() error { endEvicting(); <-evicted; return nil })
	scheduler, err = sched.New(sched.Options{
		Proposer: n.proposer, Queue: n.stores.queue, Blobs: n.stores.cas, NodeID: n.dir.nodeID,
		MaxTimeout: n.config.MaxExecutionTimeout, Retention: n.config.Retention,
		Protect: n.stores.results.Protect, Logger: n.logger,
	})
	if err != nil {
		return err
	}
	if err := scheduler.Start(ctx); err != nil {
		return fmt.Errorf("start scheduler: %w", err)
	}
	n.scheduler = scheduler
	n.closers.add("scheduler", func() error { scheduler.Stop(); return nil })
	return nil
}

// count counts the outcomes of finished actions.
func (n *Node) count(events []queue.Event) {
	for _, e := range events {
		if e.Kind != queue.JobCompleted {
			continue
		}
		response := new(repb.ExecuteResponse)
		if e.Job.ResponseBlob.IsZero() && proto.Unmarshal(e.Job.Response, response) != nil {
			continue
		}
		n.metrics.ActionEnded(admin.Outcome(response))
	}
}
