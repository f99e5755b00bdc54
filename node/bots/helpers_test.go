package bots

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/node/reapi"
	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/store/actioncache"
	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// grid is the service over real stores, which may be restarted on the same ones.
type grid struct {
	t         testing.TB
	dir       string
	store     *cas.Store
	jobs      *queue.Store
	scheduler *sched.Scheduler
	client    botspb.BotsClient
	endWaits  context.CancelFunc // as a server that is about to stop does
	verify    func() error       // nil: this node leads
	closers   []func() error
}

const instance = "main"

func newGrid(t testing.TB) *grid {
	t.Helper()
	g := &grid{t: t, dir: fastDir(t)}
	g.start()
	t.Cleanup(g.close)
	return g
}

// inBubble runs a test in virtual time.
func inBubble(t *testing.T, test func(t *testing.T, g *grid)) {
	t.Helper()
	dir := fastDir(t)
	synctest.Test(t, func(t *testing.T) {
		g := &grid{t: t, dir: dir}
		g.start()
		defer g.close()
		test(t, g)
	})
}

// fastDir is a directory where a sync costs nothing: nothing here is about disks.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "bots")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func (g *grid) start() {
	g.t.Helper()
	ctx, quiet := context.Background(), slog.New(slog.DiscardHandler)
	must := func(err error) {
		g.t.Helper()
		if err != nil {
			g.t.Fatal(err)
		}
	}
	var err error
	g.store, err = cas.Open(ctx, cas.Options{Dir: filepath.Join(g.dir, "cas"), MaxBytes: 256 << 20, Logger: quiet})
	must(err)
	results, err := actioncache.Open(ctx, actioncache.Options{Dir: filepath.Join(g.dir, "ac"), Blobs: g.store, Logger: quiet})
	must(err)
	g.jobs, err = queue.Open(ctx, queue.Options{Path: filepath.Join(g.dir, "queue.db"), Logger: quiet})
	must(err)
	var scheduler *sched.Scheduler
	proposer, err := raftfsm.OpenLocal(ctx, raftfsm.LocalOptions{
		Queue: g.jobs, ActionCache: raftfsm.CacheOf(results), SyncBlobs: g.store.Sync, Logger: quiet,
		Observer: func(index uint64, events []queue.Event) { scheduler.Observe(index, events) },
	})
	must(err)
	scheduler, err = sched.New(sched.Options{Proposer: proposer, Queue: g.jobs, Blobs: g.store, NodeID: "node", Logger: quiet})
	must(err)
	must(scheduler.Start(ctx))
	g.scheduler = scheduler

	var closing context.Context
	closing, g.endWaits = context.WithCancel(ctx)
	server := grpc.NewServer(reapi.ServerOptions()...)
	must(Register(reapi.Guard(server, quiet), Options{Instance: instance, Scheduler: scheduler, Blobs: g.store, Closing: closing, Logger: quiet,
		Verify: func(context.Context) error {
			if g.verify != nil {
				return g.verify()
			}
			return nil
		}}))
	listener := bufconn.Listen(1 << 20)
	go func() { _ = server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	must(err)
	g.client = botspb.NewBotsClient(conn)
	g.closers = []func() error{
		conn.Close, func() error { g.endWaits(); server.Stop(); scheduler.Stop(); return nil },
		proposer.Close, g.jobs.Close, results.Close, g.store.Close,
	}
}

// close proves the rules of the queue, too.
func (g *grid) close() {
	g.t.Helper()
	if err := g.jobs.Check(context.Background()); err != nil {
		g.t.Error(err)
	}
	for _, close := range g.closers {
		if err := close(); err != nil {
			g.t.Error(err)
		}
	}
}

func (g *grid) restart() {
	g.t.Helper()
	g.close()
	g.start()
}

// blob is the Action of that name.
func blob(name string) []byte {
	data, err := proto.Marshal(&repb.Action{CommandDigest: digest.Of(digest.SHA256, []byte(name)).Proto(), Salt: []byte(name)})
	if err != nil {
		panic(err)
	}
	return data
}

// submit queues an action for linux and returns its operation.
func (g *grid) submit(name string) string {
	g.t.Helper()
	d := digest.Of(digest.SHA256, blob(name))
	for _, err := range g.store.PutMany(context.Background(), cas.Upload, []cas.Blob{{Digest: d, Data: blob(name)}}) {
		if err != nil {
			g.t.Fatal(err)
		}
	}
	return g.submitDigest(name, d)
}

func (g *grid) submitDigest(name string, d digest.Digest) string {
	g.t.Helper()
	op, err := g.scheduler.Submit(context.Background(), sched.Submission{
		Instance: instance, Action: d, Command: name, Matched: []queue.Property{{Name: "OSFamily", Value: "linux"}},
		Carried: []queue.Property{{Name: "network", Value: "off"}}, Timeout: time.Hour,
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return op
}

func (g *grid) state(op string) *sched.State {
	g.t.Helper()
	st, err := g.scheduler.Get(context.Background(), op)
	if err != nil {
		g.t.Fatal(err)
	}
	return st
}

// bot is a worker's message of a linux machine.
func bot(id string, capacity int) *botspb.BotSession {
	return &botspb.BotSession{
		BotId: id, Status: botspb.BotStatus_OK,
		Worker: &botspb.Worker{
			Devices: []*botspb.Device{{Properties: []*botspb.Device_Property{{Key: "OSFamily", Value: "linux"}}}},
			Configs: []*botspb.Worker_Config{{Key: "capacity", Value: fmt.Sprint(capacity)}},
		},
	}
}

// glance is a deadline too short for a long poll: the call answers at once.
const glance = 3 * time.Second

func (g *grid) create(b *botspb.BotSession, opts ...grpc.CallOption) *botspb.BotSession {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), glance)
	defer cancel()
	reply, err := g.client.CreateBotSession(ctx, &botspb.CreateBotSessionRequest{Parent: instance, BotSession: b}, opts...)
	if err != nil {
		g.t.Fatal(err)
	}
	return reply
}

// update calls without a long poll.
func (g *grid) update(b *botspb.BotSession, opts ...grpc.CallOption) *botspb.BotSession {
	g.t.Helper()
	reply, err := g.tryUpdate(glance, b, opts...)
	if err != nil {
		g.t.Fatal(err)
	}
	return reply
}

// tryUpdate sends a copy, as a bot does that goes on using its own message.
func (g *grid) tryUpdate(deadline time.Duration, b *botspb.BotSession, opts ...grpc.CallOption) (*botspb.BotSession, error) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	return g.client.UpdateBotSession(ctx, &botspb.UpdateBotSessionRequest{Name: b.Name, BotSession: b}, opts...)
}

// done reports a lease of the message as ended with success.
func done(b *botspb.BotSession, i int) *botspb.BotSession {
	return ended(b, i, codes.OK, &repb.ActionResult{StdoutRaw: []byte("ran")})
}

func ended(b *botspb.BotSession, i int, code codes.Code, result *repb.ActionResult) *botspb.BotSession {
	b = proto.CloneOf(b)
	l := b.Leases[i]
	l.State, l.Status = botspb.LeaseState_COMPLETED, status.New(code, "told by the bot").Proto()
	if result != nil {
		l.Result = anyOf(result)
	}
	return b
}

// without leaves a lease out.
func without(b *botspb.BotSession, i int) *botspb.BotSession {
	b = proto.CloneOf(b)
	b.Leases = append(b.Leases[:i:i], b.Leases[i+1:]...)
	return b
}

func (g *grid) wantLeases(b *botspb.BotSession, n int) *botspb.BotSession {
	g.t.Helper()
	if len(b.Leases) != n {
		g.t.Fatalf("the reply has %d leases, want %d: %v", len(b.Leases), n, b.Leases)
	}
	return b
}

func (g *grid) wantStage(op string, stage queue.Stage, failures int32) {
	g.t.Helper()
	if st := g.state(op); st.Stage != stage || st.Job.Failures != failures {
		g.t.Errorf("stage %v after %d failures, want %v after %d; history %q", st.Stage, st.Job.Failures, stage, failures, st.Job.History)
	}
}

func wantInvalid(t testing.TB, err error, text string) {
	t.Helper()
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want INVALID_ARGUMENT with %q", err, text)
	}
}

// call makes a call in the background.
func (g *grid) call(ctx context.Context, b *botspb.BotSession) <-chan answer {
	out := make(chan answer, 1)
	go func() {
		reply, err := g.client.UpdateBotSession(ctx, &botspb.UpdateBotSessionRequest{Name: b.Name, BotSession: b})
		out <- answer{reply, err}
	}()
	return out
}

type answer struct {
	*botspb.BotSession
	err error
}
