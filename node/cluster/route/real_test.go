package route

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/bgrid-node/bgrid-node/node/bots"
	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/node/reapi"
	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/store/actioncache"
	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// grid is what the nodes have in common: the stores and the command log, as if all
// had the same. A term is a scheduler with the services on top of it.
type grid struct {
	t         testing.TB
	blobs     *cas.Store
	results   *actioncache.Store
	jobs      *queue.Store
	log       *raftfsm.Local
	scheduler atomic.Pointer[sched.Scheduler]
	lose      atomic.Pointer[func()] // done instead of sending the next message of an Execute
}

func newRealTrio(t testing.TB) (*trio, *grid) {
	t.Helper()
	ctx, g := context.Background(), &grid{t: t}
	dir, err := os.MkdirTemp("/dev/shm", "route") // nothing here is about disks
	if err != nil {
		dir = t.TempDir()
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	g.blobs, err = cas.Open(ctx, cas.Options{Dir: filepath.Join(dir, "cas"), MaxBytes: 256 << 20, Logger: quiet()})
	must(err)
	g.results, err = actioncache.Open(ctx, actioncache.Options{Dir: filepath.Join(dir, "ac"), Blobs: g.blobs, Logger: quiet()})
	must(err)
	g.jobs, err = queue.Open(ctx, queue.Options{Path: filepath.Join(dir, "queue.db"), Logger: quiet()})
	must(err)
	g.log, err = raftfsm.OpenLocal(ctx, raftfsm.LocalOptions{
		Queue: g.jobs, ActionCache: raftfsm.CacheOf(g.results), SyncBlobs: g.blobs.Sync, Logger: quiet(),
		Observer: func(index uint64, events []queue.Event) { g.scheduler.Load().Observe(index, events) },
	})
	must(err)
	c := newTrio(t, g.term)
	t.Cleanup(func() {
		c.end()
		g.scheduler.Load().Stop()
		if err := g.jobs.Check(ctx); err != nil {
			t.Error(err)
		}
		for _, close := range []func() error{g.log.Close, g.jobs.Close, g.results.Close, g.blobs.Close, func() error { return os.RemoveAll(dir) }} {
			if err := close(); err != nil {
				t.Error(err)
			}
		}
	})
	return c, g
}

// term is what a leader serves.
func (g *grid) term(n *node, closing context.Context) *Services {
	if before := g.scheduler.Load(); before != nil {
		before.Stop()
	}
	s, err := sched.New(sched.Options{Proposer: g.log, Queue: g.jobs, Blobs: g.blobs, NodeID: n.id, Clustered: true, Logger: quiet()})
	if err != nil {
		panic(err)
	}
	g.scheduler.Store(s)
	services := NewServices()
	err = s.Start(context.Background())
	if err == nil {
		err = reapi.RegisterExecution(services, reapi.Options{
			Instance: "main", CAS: g.blobs, Results: g.results, Scheduler: s, Proposer: g.log, Closing: closing, Logger: quiet(),
		})
	}
	if err == nil {
		err = bots.Register(reapi.Guard(services, quiet()), bots.Options{
			Instance: "main", Scheduler: s, Blobs: g.blobs, Closing: closing, Verify: n.verify, Logger: quiet(),
		})
	}
	if err != nil {
		panic(err)
	}
	const execute = "/build.bazel.remote.execution.v2.Execution/Execute"
	m := services.streams[execute]
	services.streams[execute] = streamImpl{m.impl, func(impl any, stream grpc.ServerStream) error {
		return m.handle(impl, &lossy{stream, g})
	}}
	return services
}

// lossy loses the answer of an Execute.
type lossy struct {
	grpc.ServerStream
	g *grid
}

func (l *lossy) SendMsg(m any) error {
	if lose := l.g.lose.Swap(nil); lose != nil {
		(*lose)()
		return status.Error(codes.Unavailable, "the connection is broken")
	}
	return l.ServerStream.SendMsg(m)
}

func (g *grid) put(m proto.Message) *repb.Digest {
	g.t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		g.t.Fatal(err)
	}
	d := digest.Of(digest.SHA256, data)
	for _, err := range g.blobs.PutMany(context.Background(), cas.Upload, []cas.Blob{{Digest: d, Data: data}}) {
		if err != nil {
			g.t.Fatal(err)
		}
	}
	return d.Proto()
}

func (g *grid) action(name string, doNotCache bool) *repb.ExecuteRequest {
	command := g.put(&repb.Command{Arguments: []string{name}})
	d := g.put(&repb.Action{CommandDigest: command, InputRootDigest: g.put(&repb.Directory{}), DoNotCache: doNotCache})
	return &repb.ExecuteRequest{InstanceName: "main", ActionDigest: d}
}

// update calls for a bot, without a long poll.
func (n *node) update(b *botspb.BotSession) *botspb.BotSession {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2900*time.Millisecond)
	defer cancel()
	reply, err := n.bots.UpdateBotSession(ctx, &botspb.UpdateBotSessionRequest{Name: b.Name, BotSession: b})
	if err != nil {
		n.t.Fatalf("a bot's call through %s: %v", n.id, err)
	}
	return reply
}

func (n *node) create(id string) *botspb.BotSession {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2900*time.Millisecond)
	defer cancel()
	b, err := n.bots.CreateBotSession(ctx, &botspb.CreateBotSessionRequest{Parent: "main", BotSession: &botspb.BotSession{
		BotId: id, Status: botspb.BotStatus_OK,
		Worker: &botspb.Worker{Properties: []*botspb.Worker_Property{{Key: "runner", Value: "hosttools"}}},
	}})
	if err != nil {
		n.t.Fatal(err)
	}
	return b
}

// done reports the only lease as ended.
func done(b *botspb.BotSession) *botspb.BotSession {
	b = proto.CloneOf(b)
	result, _ := anypb.New(&repb.ActionResult{StdoutRaw: []byte("ran")})
	b.Leases[0].State, b.Leases[0].Result = botspb.LeaseState_COMPLETED, result
	return b
}

// result waits for the end of an execution.
func result(t testing.TB, from interface {
	Recv() (*longrunningpb.Operation, error)
}) (*longrunningpb.Operation, *repb.ExecuteResponse) {
	t.Helper()
	for {
		op, err := from.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if op.Done {
			r := new(repb.ExecuteResponse)
			if err := op.GetResponse().UnmarshalTo(r); err != nil {
				t.Fatal(err)
			}
			return op, r
		}
	}
}

// TestAnActionRunsOnceWhileTheLeaderChanges has a real scheduler on each leader. The
// action, its client, its bot and everybody who asks go through other nodes.
func TestAnActionRunsOnceWhileTheLeaderChanges(t *testing.T) {
	c, g := newRealTrio(t)
	a, b, third := c.nodes["a"], c.nodes["b"], c.nodes["c"]
	c.lead("a")
	ctx := metadata.AppendToOutgoingContext(shortly(t), "x-request-actor", "me", "x-request-subject", "it", "x-request-workflow", "w")
	stream, err := third.execution.Execute(ctx, g.action("once", true))
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	bot := b.create("bot")
	if len(bot.Leases) != 1 {
		t.Fatalf("the bot got %v", bot)
	}
	c.lead("b")
	if bot = third.update(bot); len(bot.Leases) != 1 {
		t.Fatalf("after the first change the bot has %v", bot)
	}
	c.lead("c")
	if bot = a.update(done(bot)); len(bot.Leases) != 0 {
		t.Errorf("the bot has %v", bot)
	}
	op, r := result(t, stream)
	if op.Name != first.Name || string(r.GetResult().GetStdoutRaw()) != "ran" {
		t.Errorf("%s ended as %v", first.Name, op)
	}
	c.lead("a")
	for _, n := range c.nodes {
		var trailer metadata.MD
		got, err := n.operations.GetOperation(shortly(t), get(first.Name), grpc.Trailer(&trailer))
		if err != nil || !got.Done || len(trailer["buildgrid.v2.clientidentity-bin"]) != 1 {
			t.Errorf("at %s: %v, %v, %q", n.id, got, err, trailer)
		}
		again, err := n.execution.WaitExecution(shortly(t), &repb.WaitExecutionRequest{Name: first.Name})
		if err != nil {
			t.Fatal(err)
		}
		result(t, again)
	}
	if s, err := g.scheduler.Load().Get(shortly(t), first.Name); err != nil || s.Job.Attempt != 1 || s.Job.Failures != 0 {
		t.Errorf("%+v, %v", s.Job, err)
	}
}

// TestALostAnswerRepeatsNothing breaks the stream of an Execute before its first
// message, and changes the leader, when the action waits, and when it is done.
func TestALostAnswerRepeatsNothing(t *testing.T) {
	for _, doNotCache := range []bool{true, false} {
		for _, meanwhile := range []string{"it waits", "it is done"} {
			t.Run(fmt.Sprintf("do_not_cache %t, %s", doNotCache, meanwhile), func(t *testing.T) {
				c, g := newRealTrio(t)
				c.lead("a")
				bot := c.nodes["b"].create("bot")
				run := func() {
					if bot = c.nodes["b"].update(bot); len(bot.Leases) != 1 {
						t.Fatalf("the bot got %v", bot)
					}
					bot = c.nodes["b"].update(done(bot))
				}
				reached, lost := make(chan struct{}), make(chan struct{})
				lose := func() { close(reached); <-lost }
				g.lose.Store(&lose)
				stream, err := c.nodes["c"].execution.Execute(shortly(t), g.action("once", doNotCache))
				if err != nil {
					t.Fatal(err)
				}
				<-reached
				if meanwhile == "it is done" {
					run()
				}
				c.lead("b")
				close(lost)
				if meanwhile == "it waits" {
					if _, err := stream.Recv(); err != nil {
						t.Fatal(err)
					}
					run()
				}
				if _, r := result(t, stream); string(r.GetResult().GetStdoutRaw()) != "ran" || r.CachedResult {
					t.Errorf("it ended as %v", r)
				}
				rows, _, err := g.jobs.List(shortly(t), queue.ListQuery{Instance: "main"})
				if err != nil || len(rows) != 1 || rows[0].Job.Attempt != 1 {
					t.Errorf("%d operations, %v", len(rows), err)
				}
				if bot = c.nodes["c"].update(bot); len(bot.Leases) != 0 {
					t.Errorf("the bot has %v", bot)
				}
			})
		}
	}
}

// TestPagesGoOnAtTheNextLeader lists with a token of the leader before.
func TestPagesGoOnAtTheNextLeader(t *testing.T) {
	c, g := newRealTrio(t)
	c.lead("a")
	want := map[string]bool{}
	for i := range 5 {
		stream, err := c.nodes["b"].execution.Execute(shortly(t), g.action(fmt.Sprint(i), false))
		if err != nil {
			t.Fatal(err)
		}
		op, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		want[op.Name] = true
	}
	req := &longrunningpb.ListOperationsRequest{Name: "main", PageSize: 2}
	for i := 0; ; i++ {
		page, err := c.nodes["c"].operations.ListOperations(shortly(t), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range page.Operations {
			if !want[op.Name] {
				t.Errorf("%s was told twice", op.Name)
			}
			delete(want, op.Name)
		}
		if req.PageToken = page.NextPageToken; req.PageToken == "" {
			break
		}
		c.lead([]string{"b", "c", "a"}[i%3])
	}
	if len(want) > 0 {
		t.Errorf("not told: %v", want)
	}
}

// shortly is soon, in real time.
func shortly(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}
