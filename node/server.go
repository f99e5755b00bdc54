package node

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/bgrid-node/bgrid-node/node/bots"
	"github.com/bgrid-node/bgrid-node/node/reapi"
)

// openServer registers every service of the one gRPC endpoint.
func (n *Node) openServer(context.Context) error {
	n.server = grpc.NewServer(append(reapi.ServerOptions(), n.metrics.Interceptors()...)...)
	n.closers.add("server of the actions", func() error { n.stopInner(); return nil })
	err := reapi.Register(n.server, n.reapiOptions())
	if err != nil {
		return err
	}
	err = bots.Register(reapi.Guard(n.server, n.logger), bots.Options{
		Instance: n.config.Instance, EmptyInstance: n.config.EmptyInstance,
		Scheduler: n.scheduler, Blobs: n.stores.cas, Expiry: n.config.WorkerExpiry,
		Closing: n.closing, Logger: n.logger,
	})
	if err != nil {
		return err
	}
	n.health = health.NewServer()
	healthpb.RegisterHealthServer(n.server, n.health)
	reflection.Register(n.server)
	for name := range n.server.GetServiceInfo() {
		n.health.SetServingStatus(name, healthpb.HealthCheckResponse_SERVING)
	}
	return nil
}
