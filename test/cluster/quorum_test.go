package cluster

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/bgrid-node/bgrid-node/test/harness"
)

// TestANodeWithoutAQuorumSendsItsClientsAway: it stops being ready, so that load
// balancers choose others, and its connections end in peace. It stays alive, and is
// ready again when it sees the others.
func TestANodeWithoutAQuorumSendsItsClientsAway(t *testing.T) {
	g := startGrid(t, Options{Workers: 1})
	_, others := g.leads()
	i := others[0]
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+g.Servers()[i], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	live := func() error {
		_, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
		return err
	}
	if err := live(); err != nil {
		t.Fatal(err)
	}
	if err := g.hosts[i].CutBoth(ctx, g.others(i)...); err != nil {
		t.Fatal(err)
	}
	if !conn.WaitForStateChange(ctx, connectivity.Ready) {
		t.Fatal("the connection was not ended within a minute")
	}
	g.awaitServing(ctx, i, false)
	if err := live(); err != nil {
		t.Errorf("it does not live: %v", err)
	}
	if err := g.hosts[i].Heal(ctx); err != nil {
		t.Fatal(err)
	}
	g.awaitServing(ctx, i, true)
}

// awaitServing waits until a member is ready, or is not.
func (g *testGrid) awaitServing(ctx context.Context, i int, want bool) {
	g.t.Helper()
	for {
		err := harness.Serving(ctx, g.Servers()[i])
		if (err == nil) == want {
			return
		}
		if ctx.Err() != nil {
			g.t.Fatalf("ready is not %t within a minute: %v", want, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
