package node

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/bgrid-node/bgrid-node/node/worker"
	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/cgroup"
)

// openMemberWorker makes the local worker of a member of a cluster: one like those
// on other machines, with this node as its server. So its actions go on while the
// leader changes.
func (n *Node) openMemberWorker() error {
	disk, _, err := diskSize(n.config.DataDir)
	if err != nil {
		return err
	}
	open, err := n.openRunners()
	if err != nil {
		return err
	}
	room := cgroup.Room()
	o := worker.Options{
		Servers: []string{dialable(n.grpc.Addr().String())}, Instance: n.config.Instance, BotID: n.config.Cluster.NodeID + "/local",
		Runners: open, Slots: n.config.Slots, CPUs: room.CPUs, Memory: room.Memory, Dir: n.config.WorkDir,
		CacheBytes: n.config.WorkCacheSize.Of(disk), TreeBytes: n.config.TreeCacheSize.Of(disk), Limits: n.config.Limits,
		DrainTimeout: n.config.DrainTimeout, Version: n.options.Build.Version, Logger: n.logger,
	}
	for _, p := range n.config.offered(open) {
		o.Properties = append(o.Properties, runners.Property(p))
	}
	if n.workers.member, err = worker.New(o); err != nil {
		return fmt.Errorf("--work-dir %s: %w", filepath.Clean(n.config.WorkDir), plain(err))
	}
	return nil
}

// startMemberWorker lets it take leases until the node drains.
func (n *Node) startMemberWorker(failed chan<- error) {
	var ctx context.Context
	ctx, n.workers.leave = context.WithCancel(context.Background())
	n.workers.kill = n.workers.leave
	go func() {
		defer close(n.workers.ended)
		if err := n.workers.member.Run(ctx); err != nil && ctx.Err() == nil {
			failed <- fmt.Errorf("local worker: %w", err)
		}
	}()
}
