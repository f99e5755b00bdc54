package reapi

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/store/actioncache"
	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
	"github.com/bgrid-node/bgrid-node/store/queue/filter"
)

// execBlobs is a CAS in memory; it checks input roots one level deep.
type execBlobs struct {
	mu     sync.Mutex
	data   map[digest.Digest][]byte
	gets   int
	failed error // returned by every call when set
}

func (b *execBlobs) put(data []byte) digest.Digest {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := digest.Of(digest.SHA256, data)
	b.data[d] = data
	return d
}

func (b *execBlobs) message(t testing.TB, m proto.Message) digest.Digest {
	t.Helper()
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b.put(data)
}

func (b *execBlobs) forget(ds ...digest.Digest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range ds {
		delete(b.data, d)
	}
}

func (b *execBlobs) Get(_ context.Context, d digest.Digest) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gets++
	if b.failed != nil {
		return nil, b.failed
	}
	if data, ok := b.data[d]; ok || d.IsEmpty() {
		return data, nil
	}
	return nil, fmt.Errorf("get %s: %w", d, cas.ErrNotFound)
}

func (b *execBlobs) GetMany(ctx context.Context, ds []digest.Digest) ([][]byte, []error) {
	data, errs := make([][]byte, len(ds)), make([]error, len(ds))
	for i, d := range ds {
		data[i], errs[i] = b.Get(ctx, d)
	}
	return data, errs
}

func (b *execBlobs) FindMissing(_ context.Context, ds []digest.Digest) (missing []digest.Digest, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed != nil {
		return nil, b.failed
	}
	for _, d := range ds {
		if _, ok := b.data[d]; !ok && !d.IsEmpty() {
			missing = append(missing, d)
		}
	}
	return missing, nil
}

func (b *execBlobs) InputRoot(ctx context.Context, root digest.Digest) ([]digest.Digest, error) {
	data, err := b.Get(ctx, root)
	if err != nil {
		return []digest.Digest{root}, nil
	}
	dir := new(repb.Directory)
	if proto.Unmarshal(data, dir) != nil {
		return nil, fmt.Errorf("%w: %s", actioncache.ErrMalformed, root)
	}
	var all []digest.Digest
	for _, f := range dir.GetFiles() {
		d, err := digest.FromProto(digest.SHA256, f.GetDigest())
		if err != nil {
			return nil, fmt.Errorf("%w: %w", actioncache.ErrMalformed, err)
		}
		all = append(all, d)
	}
	return b.FindMissing(ctx, all)
}

// execResults is an action cache in memory.
type execResults struct {
	results map[digest.Digest]*repb.ActionResult
	failed  error
}

func (r *execResults) Get(_ context.Context, _ string, d digest.Digest) (*repb.ActionResult, error) {
	if r.failed != nil {
		return nil, r.failed
	}
	if result := r.results[d]; result != nil {
		return result, nil
	}
	return nil, actioncache.ErrNotFound
}

// execScheduler records what it is asked, and lets a test push states.
type execScheduler struct {
	mu        sync.Mutex
	calls     []string
	submitted []sched.Submission
	inFlight  string // the operation that Join finds
	offers    map[string]bool
	failed    error
	states    map[string]chan *sched.State
	listed    filter.Filter
	closed    int // watches
}

func (s *execScheduler) record(call string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
	return s.failed
}

func (s *execScheduler) Join(_ context.Context, _ sched.Submission) (string, bool, error) {
	err := s.record("join")
	return s.inFlight, s.inFlight != "" && err == nil, err
}

func (s *execScheduler) Submit(_ context.Context, sub sched.Submission) (string, error) {
	err := s.record("submit")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.submitted = append(s.submitted, sub)
	return "main/op", err
}

func (s *execScheduler) Finished(sub sched.Submission, r *repb.ExecuteResponse) *sched.State {
	_ = s.record("finished")
	return &sched.State{Name: "main/cached", Done: true, Stage: queue.Completed, Response: r, Job: &queue.Job{Action: sub.Action}}
}

func (s *execScheduler) Offers(name, value string) bool { return s.offers[name+"="+value] }

func (s *execScheduler) Watch(_ context.Context, name string) (watch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if states := s.states[name]; states != nil {
		return &execWatch{s: s, states: states}, nil
	}
	return nil, sched.ErrNotFound
}

func (s *execScheduler) Get(_ context.Context, name string) (*sched.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.states[name] == nil {
		return nil, sched.ErrNotFound
	}
	return &sched.State{Name: name, Stage: queue.Queued, WaitReason: "no worker", Job: &queue.Job{Stage: queue.Queued},
		Operation: &queue.Operation{RequestMetadata: []byte("request"), Client: "10.0.0.1:5"}}, nil
}

func (s *execScheduler) Cancel(_ context.Context, name string) error { return s.known("cancel", name) }
func (s *execScheduler) Delete(_ context.Context, name string) error { return s.known("delete", name) }

func (s *execScheduler) known(call, name string) error {
	if err := s.record(call); err != nil {
		return err
	}
	if s.states[name] == nil {
		return sched.ErrNotFound
	}
	return nil
}

func (s *execScheduler) List(_ context.Context, _ string, f filter.Filter, size int, token string) ([]*sched.State, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed = f
	if token == "bad" {
		return nil, "", queue.ErrBadPageToken
	}
	return []*sched.State{{Name: "main/op", Stage: queue.Queued}}, fmt.Sprint("after ", size), nil
}

func (s *execScheduler) made() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.calls...)
}

type execWatch struct {
	s      *execScheduler
	states chan *sched.State
}

func (w *execWatch) Next(ctx context.Context) (*sched.State, error) {
	select {
	case s, ok := <-w.states:
		if !ok {
			return nil, io.EOF
		}
		return s, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (w *execWatch) Close() {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.closed++
}

// execServer serves Execution and Operations over an in-memory connection.
type execServer struct {
	blobs     *execBlobs
	results   *execResults
	scheduler *execScheduler
	states    chan *sched.State // of operation main/op
	stop      context.CancelFunc

	execution  repb.ExecutionClient
	operations longrunningpb.OperationsClient
}

func newExecServer(t testing.TB) *execServer {
	t.Helper()
	closing, stop := context.WithCancel(context.Background())
	s := &execServer{
		blobs:   &execBlobs{data: make(map[digest.Digest][]byte)},
		results: &execResults{results: make(map[digest.Digest]*repb.ActionResult)},
		states:  make(chan *sched.State, 10),
		stop:    stop,
	}
	s.scheduler = &execScheduler{offers: make(map[string]bool), states: map[string]chan *sched.State{"main/op": s.states}}
	names := testInstances("main")
	gs := grpc.NewServer()
	repb.RegisterExecutionServer(gs, &execution{
		instances: names,
		actions: &actions{
			blobs: s.blobs, inputs: s.blobs, memo: newMemo(1 << 20), freshFor: time.Minute,
			keys: newPlatformKeys(DefaultMatchedKeys(), DefaultCarriedKeys()), maxTimeout: 2 * time.Hour,
		},
		scheduler: s.scheduler, results: s.results, inliner: inliner{s.blobs}, closing: closing, log: slog.New(slog.DiscardHandler),
	})
	longrunningpb.RegisterOperationsServer(gs, &operations{instances: names, operations: s.scheduler, closing: closing})
	l := bufconn.Listen(1 << 20)
	go func() { _ = gs.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		gs.Stop()
		stop()
	})
	s.execution, s.operations = repb.NewExecutionClient(conn), longrunningpb.NewOperationsClient(conn)
	return s
}

// upload stores an action with the command and the input root, and returns its
// digest. What is nil gets a plain default.
func (s *execServer) upload(t testing.TB, a *repb.Action, c *repb.Command, root *repb.Directory) digest.Digest {
	t.Helper()
	if c == nil {
		c = &repb.Command{Arguments: []string{"true"}}
	}
	if root == nil {
		root = &repb.Directory{}
	}
	if a == nil {
		a = &repb.Action{}
	}
	if a.CommandDigest == nil {
		a.CommandDigest = s.blobs.message(t, c).Proto()
	}
	if a.InputRootDigest == nil {
		a.InputRootDigest = s.blobs.message(t, root).Proto()
	}
	return s.blobs.message(t, a)
}

// execute returns the messages of a stream and the error that ended it.
func (s *execServer) execute(ctx context.Context, req *repb.ExecuteRequest) ([]*longrunningpb.Operation, error) {
	stream, err := s.execution.Execute(ctx, req)
	if err != nil {
		return nil, err
	}
	return drain(stream)
}

func drain(stream interface {
	Recv() (*longrunningpb.Operation, error)
}) (ops []*longrunningpb.Operation, err error) {
	for {
		op, err := stream.Recv()
		if err == io.EOF {
			return ops, nil
		}
		if err != nil {
			return ops, err
		}
		ops = append(ops, op)
	}
}

// finish lets operation main/op end at once, well.
func (s *execServer) finish() {
	s.states <- &sched.State{Name: "main/op", Done: true, Stage: queue.Completed, Response: &repb.ExecuteResponse{Result: &repb.ActionResult{}}}
}
