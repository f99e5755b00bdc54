package reapi

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/node/logstream"
	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/store/actioncache"
	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// grid is every service over real stores, without workers.
type grid struct {
	store     Blobs // what is served: local, or a cluster's
	local     *cas.Store
	results   *actioncache.Store
	scheduler *sched.Scheduler
	streams   *logstream.Hub
	logged    *bytes.Buffer // what the services log; read it after stop only
	listener  *bufconn.Listener
	peers     *peers       // of a cluster; nil: a single node
	dangling  atomic.Int64 // results that the action cache wants evicted

	conn         *grpc.ClientConn
	cas          repb.ContentAddressableStorageClient
	bytes        bspb.ByteStreamClient
	cache        repb.ActionCacheClient
	execution    repb.ExecutionClient
	operations   longrunningpb.OperationsClient
	capabilities repb.CapabilitiesClient
}

// newGrid serves instance main; change may change the options before.
func newGrid(t testing.TB, change ...func(*Options)) *grid {
	t.Helper()
	return newSizedGrid(t, 256<<20, change...)
}

func newSizedGrid(t testing.TB, maxBytes int64, change ...func(*Options)) *grid {
	t.Helper()
	ctx, dir := context.Background(), t.TempDir()
	quiet := slog.New(slog.DiscardHandler)
	g := &grid{logged: new(bytes.Buffer)}
	var err error
	if g.local, err = cas.Open(ctx, cas.Options{Dir: filepath.Join(dir, "cas"), MaxBytes: maxBytes, Logger: quiet}); err != nil {
		t.Fatal(err)
	}
	var named actioncache.Blobs = g.local
	g.store = g.local
	if clustered(t) {
		all := g.inCluster(t)
		g.store, named = all, all
	}
	if g.results, err = actioncache.Open(ctx, actioncache.Options{Dir: filepath.Join(dir, "ac"), Blobs: named, Logger: quiet,
		OnDangling: func(string, digest.Digest, uint64) { g.dangling.Add(1) }}); err != nil {
		t.Fatal(err)
	}
	jobs, err := queue.Open(ctx, queue.Options{Path: filepath.Join(dir, "queue.db"), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	var scheduler *sched.Scheduler
	proposer, err := raftfsm.OpenLocal(ctx, raftfsm.LocalOptions{
		Queue: jobs, ActionCache: raftfsm.CacheOf(g.results), SyncBlobs: g.local.Sync, Logger: quiet,
		Observer: func(index uint64, events []queue.Event) { scheduler.Observe(index, events) },
	})
	if err != nil {
		t.Fatal(err)
	}
	scheduler, err = sched.New(sched.Options{Proposer: proposer, Queue: jobs, Blobs: g.store, NodeID: "node", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if err := scheduler.Start(ctx); err != nil {
		t.Fatal(err)
	}
	g.scheduler = scheduler
	o := Options{Instance: "main", CAS: g.store, Results: g.results, Scheduler: scheduler, Proposer: proposer,
		MaxTimeout: time.Hour, Logger: slog.New(slog.NewTextHandler(g.logged, nil))}
	g.streams = logstream.New(logstream.Options{Dir: dir, MaxBytes: 1 << 20})
	o.Streams = g.streams
	for _, f := range change {
		f(&o)
	}
	gs := grpc.NewServer(ServerOptions()...)
	if err := Register(gs, o); err != nil {
		t.Fatal(err)
	}
	g.listener = bufconn.Listen(1 << 20)
	go func() { _ = gs.Serve(g.listener) }()
	g.conn = g.dial(t)
	t.Cleanup(func() {
		gs.Stop()
		scheduler.Stop()
		for _, close := range []func() error{g.streams.Close, proposer.Close, jobs.Close, g.results.Close, g.local.Close} {
			if err := close(); err != nil {
				t.Error(err)
			}
		}
	})
	g.cas, g.bytes, g.cache = repb.NewContentAddressableStorageClient(g.conn), bspb.NewByteStreamClient(g.conn), repb.NewActionCacheClient(g.conn)
	g.execution, g.operations = repb.NewExecutionClient(g.conn), longrunningpb.NewOperationsClient(g.conn)
	g.capabilities = repb.NewCapabilitiesClient(g.conn)
	return g
}

// dial makes another connection.
func (g *grid) dial(t testing.TB) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return g.listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// put stores blobs past the services.
func (g *grid) put(t testing.TB, datas ...[]byte) []digest.Digest {
	t.Helper()
	blobs, ds := make([]cas.Blob, len(datas)), make([]digest.Digest, len(datas))
	for i, data := range datas {
		ds[i] = digest.Of(digest.SHA256, data)
		blobs[i] = cas.Blob{Digest: ds[i], Data: data}
	}
	for _, err := range g.store.PutMany(context.Background(), cas.Upload, blobs) {
		if err != nil {
			t.Fatal(err)
		}
	}
	return ds
}

// message stores a message.
func (g *grid) message(t testing.TB, m proto.Message) digest.Digest {
	t.Helper()
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return g.put(t, data)[0]
}

// noise returns content that no other seed has.
func noise(n int, seed byte) []byte {
	data := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range data {
		x = x*1664525 + 1013904223
		data[i] = byte(x >> 24)
	}
	return data
}
