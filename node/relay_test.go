package node

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// TestClientsThatAreSentAwayComeBackToAFreshServer holds a call open over GOAWAY:
// it ends as it would have, the connection does not outlive it, and the address
// answers all the time.
func TestClientsThatAreSentAwayComeBackToAFreshServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	state := health.NewServer()
	built := 0
	f, err := newFront(l, func() (*grpc.Server, error) {
		built++
		s := grpc.NewServer()
		healthpb.RegisterHealthServer(s, state)
		return s, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 2)
	f.Serve(failed)

	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := healthpb.NewHealthClient(conn)
	watch, err := client.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := f.SendAway(time.Minute); err != nil {
		t.Fatal(err)
	}
	for conn.GetState() == connectivity.Ready { // until GOAWAY has come
		conn.WaitForStateChange(t.Context(), connectivity.Ready)
	}
	if _, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Errorf("a new call: %v", err)
	}
	state.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	if m, err := watch.Recv(); err != nil || m.Status != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("the old call: %v, %v", m, err)
	}
	if built != 2 {
		t.Errorf("%d servers, want 2", built)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	state.Shutdown()
	f.current.Stop()
	watchEnded := make(chan struct{})
	go func() { defer close(watchEnded); _, _ = watch.Recv() }()
	_ = conn.Close()
	f.Stop(ended)
	<-watchEnded
	select {
	case err := <-failed:
		t.Errorf("serving failed: %v", err)
	default:
	}
}
