package node

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"

	"github.com/bgrid-node/bgrid-node/node/bots"
	"github.com/bgrid-node/bgrid-node/node/reapi"
	"github.com/bgrid-node/bgrid-node/node/sched"
)

// openServer makes the one gRPC endpoint.
func (n *Node) openServer(context.Context) (err error) {
	n.probes = newProbes()
	n.closers.add("server of the actions", func() error { n.stopInner(); return nil })
	if n.front, err = newFront(n.grpc, n.newServer); err != nil {
		return err
	}
	n.setServing(n.cluster == nil)
	return nil
}

// newServer returns a server of every service.
func (n *Node) newServer() (*grpc.Server, error) {
	s := grpc.NewServer(append(reapi.ServerOptions(), n.metrics.Interceptors()...)...)
	if err := n.register(s); err != nil {
		return nil, err
	}
	n.probes.register(s)
	reflection.Register(s)
	return s, nil
}

// register makes s serve clients and workers. In a cluster, what needs the
// scheduler is routed to the node that leads.
func (n *Node) register(s *grpc.Server) error {
	if n.cluster != nil {
		n.router.Register(reapi.Guard(s, n.logger))
		return reapi.RegisterStorage(s, n.reapiOptions())
	}
	if err := reapi.Register(s, n.reapiOptions()); err != nil {
		return err
	}
	return bots.Register(reapi.Guard(s, n.logger), n.botsOptions(n.scheduler.Load(), n.closing))
}

// botsOptions are those of a service over that scheduler, until closing ends.
func (n *Node) botsOptions(s *sched.Scheduler, closing context.Context) bots.Options {
	return bots.Options{
		Instance: n.config.Instance, EmptyInstance: n.config.EmptyInstance,
		Scheduler: s, Blobs: n.storage, Expiry: n.config.WorkerExpiry,
		Closing: closing, Logger: n.logger,
	}
}
