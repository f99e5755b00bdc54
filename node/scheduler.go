package node

import (
	"context"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/node/admin"
	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// openLog starts the command log of a node that stands alone and, on top of it, the
// scheduler, which finds what an earlier process left unfinished.
func (n *Node) openLog(ctx context.Context) error {
	log, err := raftfsm.OpenLocal(ctx, raftfsm.LocalOptions{
		Queue: n.stores.queue, ActionCache: raftfsm.CacheOf(n.stores.results), SyncBlobs: n.stores.cas.Sync, Logger: n.logger,
		Observer: n.observe,
	})
	if err != nil {
		return err
	}
	n.proposer, n.failed, n.failure = log, log.Failed(), log.Err
	n.closers.add("command log", log.Close)
	t, err := n.newTerm(ctx)
	if err != nil {
		return err
	}
	n.closers.add("scheduler", func() error { t.stop(); return nil })
	n.startEvicting()
	return nil
}

// observe is told of all that is committed. What comes while there is no scheduler
// changes nothing that the next one will not load.
func (n *Node) observe(index uint64, events []queue.Event) {
	if s := n.scheduler.Load(); s != nil {
		n.count(events)
		s.Observe(index, events)
	}
}

func (n *Node) newScheduler(log raftfsm.Proposer) (*sched.Scheduler, error) {
	return sched.New(sched.Options{
		Proposer: log, Queue: n.stores.queue, Blobs: n.storage, NodeID: n.dir.nodeID, Clustered: n.config.Clustered(),
		MaxTimeout: n.config.MaxExecutionTimeout, Retention: n.config.Retention,
		SessionExpiry: n.config.WorkerExpiry, UnmatchableGrace: n.config.UnmatchableGrace, Needs: needsOf,
		Protect: n.stores.results.Protect, CacheRoom: n.stores.results.Room, Logger: n.logger,
	})
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
	if data, err := n.storage.Get(n.closing, job.ResponseBlob); err == nil {
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
