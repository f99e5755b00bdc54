package kubelet

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	corev1 "k8s.io/api/core/v1"
)

// probe asks a pod as its probes say, until ctx ends. A pod without a readiness probe
// is ready once it runs. What the kubelet would restart is a problem here.
func (c *Cluster) probe(ctx context.Context, p *Pod) {
	if s := p.container.StartupProbe; s != nil {
		for failures := 0; ask(ctx, p, s) != nil; failures++ {
			if failures >= int(s.FailureThreshold) && ctx.Err() == nil {
				c.note(fmt.Errorf("pod %s does not start:\n%s", p.name, p.log))
				return
			}
			if pause(ctx, s) {
				return
			}
		}
	}
	if p.container.ReadinessProbe == nil {
		p.ready.Store(true)
	} else {
		go repeat(ctx, p, p.container.ReadinessProbe, func(failures int, _ error) {
			if failures == 0 || failures >= int(p.container.ReadinessProbe.FailureThreshold) {
				p.ready.Store(failures == 0)
			}
		})
	}
	if l := p.container.LivenessProbe; l != nil {
		repeat(ctx, p, l, func(failures int, err error) {
			if failures >= int(l.FailureThreshold) && !p.stopping.Load() {
				c.note(fmt.Errorf("the liveness probe kills pod %s: %w\n%s", p.name, err, p.log))
			}
		})
	}
}

// repeat asks at each period and tells how many failures there were in a row.
func repeat(ctx context.Context, p *Pod, probe *corev1.Probe, tell func(failures int, err error)) {
	failures := 0
	for {
		err := ask(ctx, p, probe)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			failures = 0
		} else {
			failures++
		}
		tell(failures, err)
		if pause(ctx, probe) {
			return
		}
	}
}

// pause waits for the next question, and tells whether there is none.
func pause(ctx context.Context, p *corev1.Probe) (over bool) {
	select {
	case <-time.After(time.Duration(p.PeriodSeconds) * time.Second):
		return false
	case <-ctx.Done():
		return true
	}
}

// ask asks once, as the kubelet's own gRPC probe does.
func ask(ctx context.Context, p *Pod, probe *corev1.Probe) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(probe.TimeoutSeconds)*time.Second)
	defer cancel()
	conn, err := grpc.NewClient(fmt.Sprintf("passthrough:///%s:%d", p.Address(), probe.GRPC.Port), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	r, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: *probe.GRPC.Service})
	if err != nil {
		return err
	}
	if r.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("%s is %s", *probe.GRPC.Service, r.GetStatus())
	}
	return nil
}
