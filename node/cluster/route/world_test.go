package route

import (
	"context"
	"io"
	"sync"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/node/reapi"
	"github.com/bgrid-node/bgrid-node/node/sched"
)

// world is what the nodes have committed, so that whoever leads knows it. Its
// services behave as those of reapi and bots do, and do no more.
type world struct {
	mu      sync.Mutex
	ops     map[string]*longrunningpb.Operation
	changed chan struct{}
	begun   map[string]int    // executions, by action
	served  []string          // calls, by leader and method
	serving int               // calls at this moment
	origins []sched.Origin    // of the calls
	heard   []metadata.MD     // with the calls
	at      map[string]func() // at a point of a call, once; see reach
	lease   *botspb.Lease     // what bots are given
	fails   error             // what GetOperation answers; nil: what it should
	gone    map[string]bool   // sessions that were closed
}

func newWorld() *world {
	return &world{ops: map[string]*longrunningpb.Operation{}, changed: make(chan struct{}), begun: map[string]int{}, at: map[string]func(){}, gone: map[string]bool{}}
}

// stage moves an operation on.
func (w *world) stage(name string, s repb.ExecutionStage_Value) {
	w.mu.Lock()
	defer w.mu.Unlock()
	packed, _ := anypb.New(&repb.ExecuteOperationMetadata{Stage: s})
	w.ops[name] = &longrunningpb.Operation{Name: name, Metadata: packed, Done: s == repb.ExecutionStage_COMPLETED}
	w.wake()
}

func (w *world) forget(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.ops, name)
}

func (w *world) give(l *botspb.Lease) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lease = l
	w.wake()
}

// wake is called with mu held.
func (w *world) wake() {
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *world) calls() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.serving
}

// when has something happen at a point of a call.
func (w *world) when(point string, f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at[point] = f
}

// reach runs what a test wants to happen at a point of a call.
func (w *world) reach(point string) {
	w.mu.Lock()
	f := w.at[point]
	delete(w.at, point)
	w.mu.Unlock()
	if f != nil {
		f()
	}
}

// term is what a leader serves: all three services.
type term struct {
	repb.UnimplementedExecutionServer
	longrunningpb.UnimplementedOperationsServer
	botspb.UnimplementedBotsServer
	*world
	n       *node
	closing context.Context
}

func (w *world) term(n *node, closing context.Context) *Services {
	t := &term{world: w, n: n, closing: closing}
	s := NewServices()
	g := reapi.Guard(s, quiet())
	repb.RegisterExecutionServer(g, t)
	longrunningpb.RegisterOperationsServer(g, t)
	botspb.RegisterBotsServer(g, t)
	return s
}

// begin notes a call; the function returned ends it.
func (t *term) begin(ctx context.Context, method string) func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	md, _ := metadata.FromIncomingContext(ctx)
	t.served, t.origins, t.heard = append(t.served, t.n.id+" "+method), append(t.origins, sched.OriginOf(ctx)), append(t.heard, md)
	t.serving++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.serving--
	}
}

func (t *term) look(name string) (*longrunningpb.Operation, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ops[name], t.changed
}

func (t *term) Execute(req *repb.ExecuteRequest, stream repb.Execution_ExecuteServer) error {
	defer t.begin(stream.Context(), "Execute")()
	t.reach("received")
	name := "main/" + sched.OriginOf(stream.Context()).OperationID
	if op, _ := t.look(name); op == nil {
		t.mu.Lock()
		t.begun[req.ActionDigest.GetHash()]++
		t.mu.Unlock()
		t.stage(name, repb.ExecutionStage_QUEUED)
	}
	t.reach("committed")
	return t.follow(name, stream)
}

func (t *term) WaitExecution(req *repb.WaitExecutionRequest, stream repb.Execution_WaitExecutionServer) error {
	defer t.begin(stream.Context(), "WaitExecution")()
	return t.follow(req.Name, stream)
}

func (t *term) follow(name string, stream interface {
	Context() context.Context
	Send(*longrunningpb.Operation) error
}) error {
	var last *longrunningpb.Operation
	for {
		op, changed := t.look(name)
		switch {
		case op == nil:
			return sched.ErrNotFound
		case op == last:
			if err := t.wait(stream.Context(), changed); err != nil {
				return err
			}
			continue
		case op.Done:
			t.reach("done")
			if t.closing.Err() != nil {
				return sched.ErrDraining
			}
		}
		if err := stream.Send(op); err != nil || op.Done {
			return err
		}
		last = op
		t.reach("sent")
	}
}

func (t *term) wait(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-t.closing.Done():
		return sched.ErrDraining
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *term) GetOperation(ctx context.Context, req *longrunningpb.GetOperationRequest) (*longrunningpb.Operation, error) {
	defer t.begin(ctx, "GetOperation")()
	t.reach("received")
	op, _ := t.look(req.Name)
	switch {
	case t.fails != nil:
		return nil, t.fails
	case op == nil:
		return nil, sched.ErrNotFound
	}
	return op, grpc.SetTrailer(ctx, metadata.Pairs("identity-bin", "\x00who"))
}

func (t *term) ListOperations(ctx context.Context, _ *longrunningpb.ListOperationsRequest) (*longrunningpb.ListOperationsResponse, error) {
	defer t.begin(ctx, "ListOperations")()
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &longrunningpb.ListOperationsResponse{NextPageToken: "next"}
	for _, op := range t.ops {
		r.Operations = append(r.Operations, op)
	}
	return r, nil
}

func (t *term) CancelOperation(ctx context.Context, req *longrunningpb.CancelOperationRequest) (*emptypb.Empty, error) {
	defer t.begin(ctx, "CancelOperation")()
	t.reach("received")
	if op, _ := t.look(req.Name); op == nil {
		return nil, status.Error(codes.InvalidArgument, "no such operation")
	}
	t.stage(req.Name, repb.ExecutionStage_COMPLETED)
	return &emptypb.Empty{}, nil
}

func (t *term) DeleteOperation(ctx context.Context, req *longrunningpb.DeleteOperationRequest) (*emptypb.Empty, error) {
	defer t.begin(ctx, "DeleteOperation")()
	if op, _ := t.look(req.Name); op == nil {
		return nil, sched.ErrNotFound
	}
	t.forget(req.Name)
	t.reach("committed")
	if t.closing.Err() != nil {
		return nil, sched.ErrDraining
	}
	return &emptypb.Empty{}, nil
}

func (t *term) WaitOperation(ctx context.Context, req *longrunningpb.WaitOperationRequest) (*longrunningpb.Operation, error) {
	defer t.begin(ctx, "WaitOperation")()
	if d := req.GetTimeout(); d != nil {
		var cancel func()
		ctx, cancel = context.WithTimeoutCause(ctx, d.AsDuration(), io.EOF)
		defer cancel()
	}
	for {
		op, changed := t.look(req.Name)
		switch {
		case op == nil:
			return nil, sched.ErrNotFound
		case op.Done:
			return op, nil
		}
		if err := t.wait(ctx, changed); context.Cause(ctx) == io.EOF {
			return op, nil
		} else if err != nil {
			return nil, err
		}
	}
}

func (t *term) CreateBotSession(ctx context.Context, req *botspb.CreateBotSessionRequest) (*botspb.BotSession, error) {
	defer t.begin(ctx, "CreateBotSession")()
	b := req.BotSession
	b.Name = "main/session"
	return b, nil
}

func (t *term) UpdateBotSession(ctx context.Context, req *botspb.UpdateBotSessionRequest) (*botspb.BotSession, error) {
	defer t.begin(ctx, "UpdateBotSession")()
	for {
		t.mu.Lock()
		lease, changed, gone := t.lease, t.changed, t.gone[req.Name]
		t.mu.Unlock()
		switch {
		case gone:
			return nil, status.Error(codes.InvalidArgument, "the session is not open")
		case lease != nil:
			b := req.BotSession
			b.Leases = []*botspb.Lease{lease}
			return b, grpc.SetTrailer(ctx, metadata.Pairs("executeoperationmetadata-bin", "\x01meta"))
		}
		if err := t.wait(ctx, changed); err != nil {
			return nil, err
		}
	}
}
