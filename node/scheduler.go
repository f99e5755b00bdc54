package node

import (
	"context"
	"fmt"
	"sync/atomic"

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
	// The log needs somebody to tell, and the scheduler needs the log: what comes
	// before both are there changes nothing that the scheduler will not load.
	var scheduler atomic.Pointer[sched.Scheduler]
	n.proposer, err = raftfsm.OpenLocal(ctx, raftfsm.LocalOptions{
		Queue: n.stores.queue, ActionCache: raftfsm.CacheOf(n.stores.results), SyncBlobs: n.stores.cas.Sync, Logger: n.logger,
		Observer: func(index uint64, events []queue.Event) {
			n.count(events)
			if s := scheduler.Load(); s != nil {
				s.Observe(index, events)
			}
		},
	})
	if err != nil {
		return err
	}
	n.closers.add("command log", n.proposer.Close)
	n.scheduler, err = sched.New(sched.Options{
		Proposer: n.proposer, Queue: n.stores.queue, Blobs: n.stores.cas, NodeID: n.dir.nodeID,
		MaxTimeout: n.config.MaxExecutionTimeout, Retention: n.config.Retention,
		SessionExpiry: n.config.WorkerExpiry, UnmatchableGrace: n.config.UnmatchableGrace, Needs: needsOf,
		Protect: n.stores.results.Protect, CacheRoom: n.stores.results.Room, Logger: n.logger,
	})
	if err != nil {
		return err
	}
	scheduler.Store(n.scheduler)
	n.closers.add("scheduler", func() error { n.scheduler.Stop(); return nil })
	if err := n.scheduler.Start(ctx); err != nil {
		return fmt.Errorf("start scheduler: %w", err)
	}
	n.startEvicting()
	return nil
}

// count counts the outcomes of finished actions. It is called by the goroutine
// that commits, so it reads no further than it must.
func (n *Node) count(events []queue.Event) {
	for _, e := range events {
		if e.Kind == queue.JobCompleted && e.Job.ResponseBlob.IsZero() {
			n.metrics.ActionEnded(outcomeOf(e.Job.Response))
		} else if e.Kind == queue.JobCompleted {
			go n.countBlob(e.Job)
		}
	}
}

// countBlob counts an action whose response is too large for the log.
func (n *Node) countBlob(job *queue.Job) {
	if data, err := n.stores.cas.Get(n.closing, job.ResponseBlob); err == nil {
		n.metrics.ActionEnded(outcomeOf(data))
	}
}

// outcomeOf tells the outcome of a serialised ExecuteResponse.
func outcomeOf(response []byte) string {
	var r repb.ExecuteResponse
	if proto.Unmarshal(response, &r) != nil {
		return admin.Errored
	}
	return admin.Outcome(&r)
}
