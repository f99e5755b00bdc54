package route

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/node/sched"
)

const (
	queued    = repb.ExecutionStage_QUEUED
	executing = repb.ExecutionStage_EXECUTING
	completed = repb.ExecutionStage_COMPLETED
)

var action = &repb.ExecuteRequest{InstanceName: "main", ActionDigest: &repb.Digest{Hash: "x", SizeBytes: 1}}

// stream reads a client's stream in the background.
type stream struct {
	t    *testing.T
	ops  chan *longrunningpb.Operation
	err  error // once ops is closed; nil: it ended well
	name string
}

func (n *node) execute(ctx context.Context) *stream {
	s, err := n.execution.Execute(ctx, action)
	return n.read(s, err)
}

func (n *node) waitFor(ctx context.Context, name string) *stream {
	s, err := n.execution.WaitExecution(ctx, &repb.WaitExecutionRequest{Name: name})
	return n.read(s, err)
}

func (n *node) read(from interface {
	Recv() (*longrunningpb.Operation, error)
}, err error) *stream {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
	s := &stream{t: n.t.(*testing.T), ops: make(chan *longrunningpb.Operation, 100)}
	go func() {
		defer close(s.ops)
		for {
			op, err := from.Recv()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					s.err = err
				}
				return
			}
			s.ops <- op
		}
	}()
	return s
}

// next wants a message of that stage to be the next one.
func (s *stream) next(want repb.ExecutionStage_Value) *stream {
	s.t.Helper()
	op, ok := <-s.ops
	if !ok {
		s.t.Fatalf("the stream ended with %v, want %v", s.err, want)
	}
	m := new(repb.ExecuteOperationMetadata)
	if err := op.Metadata.UnmarshalTo(m); err != nil || m.Stage != want || op.Done != (want == completed) {
		s.t.Fatalf("got %v %v, want %v", op, err, want)
	}
	if s.name != "" && op.Name != s.name {
		s.t.Fatalf("the operation was %s and is now %s", s.name, op.Name)
	}
	s.name = op.Name
	return s
}

// quiet wants no message.
func (s *stream) quiet() *stream {
	s.t.Helper()
	synctest.Wait()
	select {
	case op, ok := <-s.ops:
		s.t.Fatalf("got %v, %t, %v, want nothing", op, ok, s.err)
	default:
	}
	return s
}

// ends wants the stream to end.
func (s *stream) ends(want codes.Code) {
	s.t.Helper()
	if op, ok := <-s.ops; ok || status.Code(s.err) != want {
		s.t.Fatalf("got %v, the stream ends with %v, want %v", op, s.err, want)
	}
}

func (w *world) wantBegun(t *testing.T, want int) {
	t.Helper()
	if w.begun["x"] != want {
		t.Errorf("the action was begun %d times, want %d; served: %q", w.begun["x"], want, w.served)
	}
}

// TestAStreamOutlivesTheLeader changes the leader at every point of an Execute,
// which comes through each of the nodes.
func TestAStreamOutlivesTheLeader(t *testing.T) {
	for point, hook := range map[string]string{
		"before the leader did anything":       "received",
		"before the first message":             "committed",
		"after QUEUED":                         "sent",
		"while it runs":                        "",
		"when it is done and nobody was told":  "done",
		"when it is done, and has to be asked": "done twice",
	} {
		for _, through := range []string{"a", "b", "c"} {
			t.Run(point+", through "+through, func(t *testing.T) {
				inBubble(t, func(t *testing.T, c *trio, w *world) {
					c.lead("a")
					move := func() { c.lead("b") }
					if hook == "done twice" {
						hook, move = "done", func() { c.lead("b"); w.when("done", func() { c.lead("c") }) }
					}
					if hook != "" {
						w.when(hook, move)
					}
					s := c.nodes[through].execute(soon(t)).next(queued).quiet()
					w.stage(s.name, executing)
					s.next(executing).quiet()
					if hook == "" {
						move()
						s.quiet()
					}
					w.stage(s.name, completed)
					s.next(completed).ends(codes.OK)
					w.wantBegun(t, 1)
					if w.at[hook] != nil {
						t.Error("the leader was not changed")
					}
				})
			})
		}
	}
}

// TestAStreamOutlivesTheLeadersProcess kills one leader after the other; the next is
// there some time later. In between the stream has nothing to tell for long:
// patience is for the changes only.
func TestAStreamOutlivesTheLeadersProcess(t *testing.T) {
	inBubble(t, func(t *testing.T, c *trio, w *world) {
		c.lead("a")
		s := c.nodes["c"].execute(soon(t)).next(queued)
		for _, change := range [][2]string{{"a", "b"}, {"b", "c"}} {
			time.Sleep(10 * time.Minute)
			c.nodes[change[0]].kill()
			time.Sleep(300 * time.Millisecond) // until it is missed
			c.elect("")
			time.Sleep(2 * time.Second)
			s.quiet()
			c.lead(change[1])
			s.quiet()
		}
		w.stage(s.name, completed)
		s.next(completed).ends(codes.OK)
		w.wantBegun(t, 1)
	})
}

func TestAnExecuteWaitsForTheFirstLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, c *trio, w *world) {
		s := c.nodes["c"].execute(soon(t))
		time.Sleep(9 * time.Second)
		s.quiet()
		c.elect("a") // which is not ready
		s.quiet()
		time.Sleep(5 * time.Second)
		s.quiet()
		c.nodes["a"].begin()
		s.next(queued)
		w.stage(s.name, completed)
		s.next(completed).ends(codes.OK)
	})
}

// TestAnOperationThatIsGoneIsSubmittedAgain is for what a client would do anyway.
func TestAnOperationThatIsGoneIsSubmittedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, c *trio, w *world) {
		c.lead("a")
		s := c.nodes["c"].execute(soon(t)).next(queued)
		w.forget(s.name)
		c.lead("b")
		time.Sleep(time.Second)
		s.quiet()
		w.stage(s.name, completed)
		s.next(completed).ends(codes.OK)
		w.wantBegun(t, 2)
		if !slices.ContainsFunc(w.origins, func(o sched.Origin) bool { return o.Repeated && "main/"+o.OperationID == s.name }) {
			t.Errorf("no call said that it was a repetition: %+v", w.origins)
		}
	})
}

func TestWaitExecutionThroughAFollower(t *testing.T) {
	inBubble(t, func(t *testing.T, c *trio, w *world) {
		c.lead("a")
		w.stage("main/1", queued)
		s := c.nodes["b"].waitFor(soon(t), "main/1").next(queued)
		c.lead("c")
		s.quiet()
		w.stage("main/1", completed)
		s.next(completed).ends(codes.OK)
		c.nodes["b"].waitFor(soon(t), "main/none").ends(codes.NotFound)
	})
}

func TestAClientThatGoesAwayEndsItsCallAtTheLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, c *trio, w *world) {
		c.lead("a")
		for _, id := range []string{"a", "b"} {
			ctx, leave := context.WithCancel(soon(t))
			s := c.nodes[id].execute(ctx).next(queued).quiet()
			if w.calls() != 1 {
				t.Fatalf("%d calls are served, want 1", w.calls())
			}
			leave()
			s.ends(codes.Canceled)
			synctest.Wait()
			if w.calls() != 0 {
				t.Errorf("%d calls are served for nobody", w.calls())
			}
		}
	})
}

func TestTheClientsDeadlineHolds(t *testing.T) {
	inBubble(t, func(t *testing.T, c *trio, w *world) {
		for _, leader := range []string{"", "a", "b"} { // nobody; another; the node itself
			if leader != "" {
				c.lead(leader)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			s := c.nodes["b"].execute(ctx)
			if leader != "" {
				s.next(queued)
			}
			s.ends(codes.DeadlineExceeded)
			cancel()
		}
	})
}

func TestWithoutALeaderClientsAreToldInTheEnd(t *testing.T) {
	for name, lose := range map[string]func(c *trio){
		"there is none":                   func(c *trio) { c.nodes["a"].resign(); c.elect("") },
		"it does not answer":              func(c *trio) { c.nodes["a"].kill() },
		"it was elected and never serves": func(c *trio) { c.nodes["a"].resign() },
		"it ends its streams":             func(c *trio) { c.nodes["a"].close() },
		"it cannot be reached":            func(c *trio) { c.nodes["a"].resign(); c.elect("d") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *trio, w *world) {
				c.lead("a")
				s := c.nodes["b"].execute(soon(t)).next(queued).quiet()
				lost := time.Now()
				lose(c)
				s.ends(codes.Unavailable)
				if took := time.Since(lost); took < 10*time.Second || took > 25*time.Second {
					t.Errorf("it took %v", took)
				}
				wantRetryInfo(t, s.err)
			})
		})
	}
}

func wantRetryInfo(t *testing.T, err error) {
	t.Helper()
	for _, d := range status.Convert(err).Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok && r.RetryDelay.AsDuration() > 0 {
			return
		}
	}
	t.Errorf("no RetryInfo in %v", err)
}

func TestAClosedRouterEndsItsCalls(t *testing.T) {
	inBubble(t, func(t *testing.T, c *trio, w *world) {
		c.lead("a")
		for _, id := range []string{"b", "a"} {
			s := c.nodes[id].execute(soon(t)).next(queued).quiet()
			if err := c.nodes[id].router.Close(); err != nil {
				t.Fatal(err)
			}
			s.ends(codes.Unavailable)
			c.nodes[id].execute(soon(t)).ends(codes.Unavailable)
		}
	})
}

// TestClientsCannotChooseWhatNodesTellEachOther sends what only nodes may.
func TestClientsCannotChooseWhatNodesTellEachOther(t *testing.T) {
	inBubble(t, func(t *testing.T, c *trio, w *world) {
		c.lead("a")
		for _, id := range []string{"a", "b"} {
			ctx := metadata.AppendToOutgoingContext(soon(t), keyOperation, "mine", keyClient, "root", keyRepeated, "1")
			s := c.nodes[id].execute(ctx).next(queued)
			o := w.origins[len(w.origins)-1]
			if s.name == "main/mine" || o.OperationID == "mine" || o.Client != "bufconn" || o.Repeated {
				t.Errorf("through %s: %s, %+v", id, s.name, o)
			}
			w.stage(s.name, completed)
			s.next(completed).ends(codes.OK)
		}
	})
}

func TestGarbageIsRefusedByTheNodeThatGetsIt(t *testing.T) {
	inBubble(t, func(t *testing.T, c *trio, w *world) {
		c.lead("a")
		for _, id := range []string{"a", "b"} {
			for _, m := range []string{"/build.bazel.remote.execution.v2.Execution/Execute", "/google.longrunning.Operations/GetOperation"} {
				err := c.nodes[id].conn.Invoke(soon(t), m, action, action, grpc.ForceCodec(garbage{}))
				if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "is not the message") {
					t.Errorf("%s at %s: %v", m, id, err)
				}
			}
		}
		if diff := cmp.Diff([]string(nil), w.served); diff != "" {
			t.Errorf("the leader was asked: %s", diff)
		}
	})
}

// garbage is a codec of a client that sends no protobuf.
type garbage struct{}

func (garbage) Marshal(any) ([]byte, error) { return []byte{0xff}, nil }
func (garbage) Unmarshal([]byte, any) error { return nil }
func (garbage) Name() string                { return "proto" }
