package worker

import (
	"net"
	"testing"

	"google.golang.org/grpc"
	grpchealth "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
)

// TestServersThatAreNotReadyAreLeft has two servers that answer all the time.
func TestServersThatAreNotReadyAreLeft(t *testing.T) {
	var servers []string
	var states []*grpchealth.Server
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s, state := grpc.NewServer(), grpchealth.NewServer()
		healthpb.RegisterHealthServer(s, state)
		go func() { _ = s.Serve(l) }()
		t.Cleanup(s.Stop)
		servers, states = append(servers, l.Addr().String()), append(states, state)
	}
	to, options := target(servers)
	conn, err := grpc.NewClient(to, options...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	asked := func() string {
		t.Helper()
		var p peer.Peer
		_, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true), grpc.Peer(&p))
		if err != nil {
			t.Fatal(err)
		}
		return p.Addr.String()
	}
	until := func(wanted func() bool) { // news of health comes when it comes
		t.Helper()
		for !wanted() {
			if t.Context().Err() != nil {
				t.Fatal("in vain")
			}
		}
	}
	for i, other := range []int{1, 0} {
		states[i].SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
		until(func() bool {
			return asked() == servers[other] && asked() == servers[other] && asked() == servers[other]
		})
		states[i].SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
		until(func() bool { return asked() == servers[i] })
	}
}
