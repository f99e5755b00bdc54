package reapi

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/uuid"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/node/cluster/placement"
	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

const clusteredTest = "TestTheServicesServeACluster"

// TestTheServicesServeACluster runs the tests of blobs and results once more, where
// the served blobs are those of three nodes with two copies of each: a third of
// them is on others only.
func TestTheServicesServeACluster(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"find":             TestFindMissingListsEachAbsentDigestOnce,
		"malformed":        TestMalformedDigestsAreRefused,
		"update":           TestBatchUpdateTellsEachBlobsFate,
		"bounds":           TestBatchesAreBounded,
		"read":             TestBatchReadTellsEachBlobsFate,
		"tree":             TestGetTreeIsBreadthFirstAndPaged,
		"tree errors":      TestGetTreeErrors,
		"large tree":       TestALargeTreeComesInSeveralMessages,
		"stream read":      TestReadSendsTheAskedPart,
		"stream errors":    TestReadErrors,
		"stream write":     TestWriteStoresBlobsOfEverySize,
		"there":            TestWriteOfWhatIsThereEndsAtOnce,
		"anew":             TestAWriteMayBeginAnewUnderItsName,
		"without finish":   TestAllBytesWithoutFinishWriteAreCommitted,
		"refused":          TestWriteRefusesWhatIsNotTheBlob,
		"concurrent":       TestConcurrentUploadsOfOneBlobAllSucceed,
		"newest":           TestTheNewestCallHasTheUpload,
		"complete results": TestAResultIsServedWhileItIsComplete,
		"large result":     TestALargeResultIsStoredAsABlob,
		"broken":           cutAndGoOn,
		"uncertain":        uncertain,
	} {
		t.Run(name, test)
	}
}

func clustered(t testing.TB) bool { return strings.HasPrefix(t.Name(), clusteredTest+"/") }

// cutAndGoOn breaks uploads off wherever they are, and goes on where the service
// says.
func cutAndGoOn(t *testing.T) {
	g := newGrid(t)
	for i, size := range []int{100_000, 3 << 20, 9 << 20} {
		data := noise(size, byte(i))
		d := digest.Of(digest.SHA256, data)
		name := digest.UploadName("main", uuid.NewString(), d)
		ctx, cut := context.WithCancel(t.Context())
		stream, err := g.bytes.Write(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, req := range parts(name, data, 0, size/10)[:7] {
			if err := stream.Send(req); err != nil {
				t.Fatal(err)
			}
		}
		cut()
		for complete := false; !complete; { // the call that broke off may still be storing what it had
			q, err := g.bytes.QueryWriteStatus(t.Context(), &bspb.QueryWriteStatusRequest{ResourceName: name})
			if err != nil || q.GetCommittedSize() > int64(size/10*7) {
				t.Fatalf("%d bytes are there, %v", q.GetCommittedSize(), err)
			}
			committed, err := writeAll(t.Context(), g.bytes, true, parts(name, data, int(q.GetCommittedSize()), 100_000)...)
			complete = err == nil && committed == int64(size)
			if code := status.Code(err); !complete && code != codes.InvalidArgument && code != codes.Aborted {
				t.Fatalf("from %d on: committed %d, %v", q.GetCommittedSize(), committed, err)
			}
		}
		if got, err := g.store.Get(t.Context(), d); err != nil || !bytes.Equal(got, data) {
			t.Errorf("stored %d bytes, %v", len(got), err)
		}
	}
}

// uncertain asks for results of which a blob is missing, perhaps: nobody who has
// quorum can tell, so that the answer is no miss, and nothing is evicted for it.
func uncertain(t *testing.T) {
	g := newGrid(t)
	gone := digest.Of(digest.SHA256, []byte("gone"))
	action := digest.Of(digest.SHA256, []byte("action"))
	_, err := g.cache.UpdateActionResult(t.Context(), &repb.UpdateActionResultRequest{InstanceName: "main", ActionDigest: action.Proto(),
		ActionResult: &repb.ActionResult{OutputFiles: []*repb.OutputFile{{Path: "out", Digest: gone.Proto()}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		away     []string
		code     codes.Code
		dangling int64
	}{
		{[]string{"second", "third"}, codes.Unavailable, 0},
		{[]string{"third"}, codes.NotFound, 1}, // each acknowledged blob has a copy that can be reached
	} {
		g.peers.part(c.away...)
		_, err := g.cache.GetActionResult(t.Context(), &repb.GetActionResultRequest{InstanceName: "main", ActionDigest: action.Proto()})
		if status.Code(err) != c.code || g.dangling.Load() != c.dangling {
			t.Errorf("without %v: %v and %d to evict, want %v and %d", c.away, err, g.dangling.Load(), c.code, c.dangling)
		}
		if c.code == codes.Unavailable && len(status.Convert(err).Details()) != 1 {
			t.Errorf("without RetryInfo: %v", err)
		}
	}
}

// inCluster makes the store of a grid that of one of three nodes.
func (g *grid) inCluster(t testing.TB) *placement.Blobs {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	g.peers = &peers{conns: make(map[string]*grpc.ClientConn), changed: make(chan struct{})}
	for _, id := range []string{"second", "third"} {
		store, err := cas.Open(context.Background(), cas.Options{Dir: t.TempDir(), MaxBytes: 256 << 20, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		g.peers.conns[id] = peerOf(t, store)
	}
	b, err := placement.New(placement.Options{Local: g.local, Replicas: 2, Patience: 1, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	b.Join(g.peers)
	g.peers.seen = func() int { return b.Stats().Reachable }
	return b
}

// peers are the members of a cluster, for one of them.
type peers struct {
	conns map[string]*grpc.ClientConn
	seen  func() int // how many members placement takes for reachable

	mu      sync.Mutex
	away    []string
	changed chan struct{}
}

// part makes members unreachable, and the others not.
func (p *peers) part(away ...string) {
	p.mu.Lock()
	p.away = away
	close(p.changed)
	p.changed = make(chan struct{})
	p.mu.Unlock()
	for p.seen() != 3-len(away) {
		runtime.Gosched()
	}
}

func (p *peers) Self() string                             { return "self" }
func (p *peers) Members() []string                        { return []string{"self", "second", "third"} }
func (p *peers) Conn(id string) (*grpc.ClientConn, error) { return p.conns[id], nil }
func (p *peers) Quorum() bool                             { return p.Reachable("second") || p.Reachable("third") }

func (p *peers) Reachable(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !slices.Contains(p.away, id)
}

func (p *peers) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}
