package node

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// Names that grpc.health.v1 answers beside those of the services and the empty one,
// which all say whether the node takes work.
const (
	healthReady = "readiness" // the same, for probes
	healthLive  = "liveness"  // the process answers: always SERVING
)

// probes is the state of health at the gRPC endpoint.
type probes struct {
	server *health.Server
	names  []string // of the services that s has
}

func newProbes() *probes {
	p := &probes{server: health.NewServer()}
	p.server.SetServingStatus(healthLive, healthpb.HealthCheckResponse_SERVING)
	return p
}

// register makes s answer the probes, and be asked for each of its services.
func (p *probes) register(s *grpc.Server) {
	healthpb.RegisterHealthServer(s, p.server)
	if p.names != nil {
		return // a server like the one before
	}
	p.names = []string{"", healthReady}
	for name := range s.GetServiceInfo() {
		p.names = append(p.names, name)
	}
}

// set says whether the node takes work.
func (p *probes) set(ready bool) {
	state := healthpb.HealthCheckResponse_NOT_SERVING
	if ready {
		state = healthpb.HealthCheckResponse_SERVING
	}
	for _, name := range p.names {
		p.server.SetServingStatus(name, state)
	}
}
