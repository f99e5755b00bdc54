package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/node/worker"
	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// workers is the local worker: one bot session with as many leases as there are
// slots. It dies with this process, with all that it started.
type workers struct {
	worker  *runners.Worker // nil: no slots
	session *sched.Session
	offered []queue.Property
	member  *worker.Worker // of a member of a cluster, in place of worker and session
	leave   func()         // has it end what runs, and leave
	kill    context.CancelFunc
	ended   chan struct{} // closed when the worker has nothing left
}

// openWorkers makes the local worker and opens its session; it takes work once
// startWorkers is called.
func (n *Node) openWorkers(ctx context.Context) error {
	if n.config.Slots == 0 {
		return nil
	}
	if n.config.Clustered() {
		return n.openMemberWorker()
	}
	disk, _, err := diskSize(n.config.DataDir)
	if err != nil {
		return err
	}
	open, err := n.openRunners()
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		host = n.dir.nodeID
	}
	n.workers.offered = queueProperties(n.config.offered(open))
	bot := sched.Bot{
		Instance: n.config.Instance, BotID: host + "/local", Capacity: n.config.Slots, Has: machineRoom(), Local: true,
		Properties: n.workers.offered,
	}
	n.workers.session, err = n.scheduler.Load().OpenSession(ctx, bot)
	if err != nil {
		return err
	}
	n.workers.worker, err = runners.NewWorker(runners.WorkerOptions{
		Leases: leases{n.workers.session}, Blobs: blobs{n.storage}, Runners: open,
		Dir: n.config.WorkDir, CacheBytes: n.config.WorkCacheSize.Of(disk), TreeBytes: n.config.TreeCacheSize.Of(disk), Limits: n.config.Limits, Slots: n.config.Slots,
		Name: bot.BotID, Streams: n.followOutput, APIs: n.serveAPIs, Logger: n.logger,
	})
	if err != nil {
		return fmt.Errorf("--work-dir %s: %w", filepath.Clean(n.config.WorkDir), plain(err))
	}
	return nil
}

// startWorkers lets the local worker take leases, until the scheduler drains or
// killWorkers is called. What else ends it goes to failed.
func (n *Node) startWorkers(failed chan<- error) {
	n.workers.ended = make(chan struct{})
	if n.workers.member != nil {
		n.startMemberWorker(failed)
		return
	}
	var ctx context.Context
	ctx, n.workers.kill = context.WithCancel(context.Background())
	if n.workers.worker == nil {
		close(n.workers.ended)
		return
	}
	go func() {
		defer close(n.workers.ended)
		if err := n.workers.worker.Run(ctx); err != nil && ctx.Err() == nil {
			failed <- fmt.Errorf("local worker: %w", err)
		}
	}()
}

// killWorkers ends what still runs, and hands it back to the queue.
func (n *Node) killWorkers(ctx context.Context) error {
	n.workers.kill()
	<-n.workers.ended
	if n.workers.session == nil {
		return nil
	}
	return n.workers.session.Close(ctx, "the node was stopped")
}

func queueProperties(list []Property) []queue.Property {
	out := make([]queue.Property, len(list))
	for i, p := range list {
		out[i] = queue.Property(p)
	}
	return out
}
