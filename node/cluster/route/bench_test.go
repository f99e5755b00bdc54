package route

import (
	"context"
	"errors"
	"io"
	"testing"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/bgrid-node/bgrid-node/node/reapi"
)

// BenchmarkCached has a cached action executed, and BenchmarkGet an operation read:
// by the services themselves, through the router of the leader, and through that of
// another node.
func BenchmarkCached(b *testing.B) {
	c, g := newRealTrio(b)
	req := g.cached(b, c)
	each(b, c, g, func(conn *grpc.ClientConn) error {
		s, err := repb.NewExecutionClient(conn).Execute(context.Background(), req)
		for err == nil {
			_, err = s.Recv()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	})
}

func BenchmarkGet(b *testing.B) {
	c, g := newRealTrio(b)
	c.lead("a")
	s, err := c.nodes["a"].execution.Execute(b.Context(), g.action("waits", false))
	if err != nil {
		b.Fatal(err)
	}
	op, err := s.Recv()
	if err != nil {
		b.Fatal(err)
	}
	each(b, c, g, func(conn *grpc.ClientConn) error {
		_, err := longrunningpb.NewOperationsClient(conn).GetOperation(context.Background(), get(op.Name))
		return err
	})
}

// cached is an action that has run.
func (g *grid) cached(b *testing.B, c *trio) *repb.ExecuteRequest {
	b.Helper()
	req := g.action("cached", false)
	s, err := c.lead("a").execution.Execute(b.Context(), req)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		b.Fatal(err)
	}
	c.nodes["a"].update(done(c.nodes["a"].create("bot")))
	result(b, s)
	return req
}

func each(b *testing.B, c *trio, g *grid, call func(*grpc.ClientConn) error) {
	b.Helper()
	a := c.lead("a")
	direct := grpc.NewServer(reapi.ServerOptions()...)
	defer direct.Stop()
	if err := reapi.RegisterExecution(direct, reapi.Options{Instance: "main", CAS: g.blobs, Results: g.results, Scheduler: g.scheduler.Load(), Proposer: g.log, Logger: quiet()}); err != nil {
		b.Fatal(err)
	}
	l := bufconn.Listen(1 << 20)
	go func() { _ = direct.Serve(l) }()
	without := dial(b, l)
	defer without.Close()
	for _, way := range []struct {
		name string
		conn *grpc.ClientConn
	}{{"without a router", without}, {"at the leader", a.conn}, {"through a follower", c.nodes["b"].conn}} {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := call(way.conn); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
