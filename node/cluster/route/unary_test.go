package route

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/node/sched"
)

func get(name string) *longrunningpb.GetOperationRequest {
	return &longrunningpb.GetOperationRequest{Name: name}
}

func TestOperationsThroughEveryNode(t *testing.T) {
	inBubble(t, func(t *testing.T, c *trio, w *world) {
		c.lead("a")
		for id, n := range c.nodes {
			w.stage("main/1", queued)
			var trailer metadata.MD
			op, err := n.operations.GetOperation(soon(t), get("main/1"), grpc.Trailer(&trailer))
			if err != nil || op.Name != "main/1" || trailer.Get("identity-bin")[0] != "\x00who" {
				t.Errorf("get at %s: %v, %v, %q", id, op, err, trailer)
			}
			list, err := n.operations.ListOperations(soon(t), &longrunningpb.ListOperationsRequest{Name: "main"})
			if err != nil || len(list.Operations) != 1 || list.NextPageToken != "next" {
				t.Errorf("list at %s: %v, %v", id, list, err)
			}
			if _, err := n.operations.CancelOperation(soon(t), &longrunningpb.CancelOperationRequest{Name: "main/1"}); err != nil {
				t.Errorf("cancel at %s: %v", id, err)
			}
			if op, err := n.operations.WaitOperation(soon(t), &longrunningpb.WaitOperationRequest{Name: "main/1"}); err != nil || !op.Done {
				t.Errorf("wait at %s: %v, %v", id, op, err)
			}
			if _, err := n.operations.DeleteOperation(soon(t), &longrunningpb.DeleteOperationRequest{Name: "main/1"}); err != nil {
				t.Errorf("delete at %s: %v", id, err)
			}
			if _, err := n.operations.GetOperation(soon(t), get("main/1")); status.Code(err) != codes.NotFound {
				t.Errorf("get at %s of what is gone: %v", id, err)
			}
			if _, err := n.operations.DeleteOperation(soon(t), &longrunningpb.DeleteOperationRequest{Name: "main/1"}); status.Code(err) != codes.NotFound {
				t.Errorf("delete at %s of what is gone: %v", id, err)
			}
		}
	})
}

// TestARepeatedDeletionIsNoError loses the answer of the first.
func TestARepeatedDeletionIsNoError(t *testing.T) {
	inBubble(t, func(t *testing.T, c *trio, w *world) {
		c.lead("a")
		w.stage("main/1", completed)
		w.when("committed", func() { c.lead("b") })
		if _, err := c.nodes["c"].operations.DeleteOperation(soon(t), &longrunningpb.DeleteOperationRequest{Name: "main/1"}); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"a DeleteOperation", "b DeleteOperation"}, w.served); diff != "" {
			t.Error(diff)
		}
	})
}

// TestOnlyWhoLeadsSaysThatSomethingIsUnknown has a node answer that was deposed and
// does not know it yet.
func TestOnlyWhoLeadsSaysThatSomethingIsUnknown(t *testing.T) {
	for name, call := range map[string]func(ctx context.Context, n *node) error{
		"NOT_FOUND": func(ctx context.Context, n *node) error {
			_, err := n.operations.GetOperation(ctx, get("main/1"))
			return err
		},
		"INVALID_ARGUMENT": func(ctx context.Context, n *node) error {
			_, err := n.operations.CancelOperation(ctx, &longrunningpb.CancelOperationRequest{Name: "main/1"})
			return err
		},
	} {
		for _, through := range []string{"a", "c"} {
			t.Run(name+" through "+through, func(t *testing.T) {
				inBubble(t, func(t *testing.T, c *trio, w *world) {
					c.lead("a")
					c.nodes["a"].apart = errors.New("it is cut off")
					done := make(chan error, 1)
					go func() { done <- call(soon(t), c.nodes[through]) }()
					time.Sleep(time.Second)
					synctest.Wait()
					select {
					case err := <-done:
						t.Fatalf("it was answered: %v", err)
					default:
					}
					w.stage("main/1", queued) // by the next leader
					c.lead("b")
					if err := <-done; err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// TestNothingIsBelievedOfALeaderThatWasDeposedMeanwhile has it fail as services do
// when all around them ends.
func TestNothingIsBelievedOfALeaderThatWasDeposedMeanwhile(t *testing.T) {
	for _, through := range []string{"a", "c"} {
		inBubble(t, func(t *testing.T, c *trio, w *world) {
			c.lead("a")
			w.when("received", func() { c.lead("b"); panic("the store is closed") })
			w.stage("main/1", queued)
			if _, err := c.nodes[through].operations.GetOperation(soon(t), get("main/1")); err != nil {
				t.Errorf("through %s: %v", through, err)
			}
		})
	}
}

// TestADeadlineWithinTheLeaderIsNotTheClients has a leader lose patience with a third
// node.
func TestADeadlineWithinTheLeaderIsNotTheClients(t *testing.T) {
	for _, through := range []string{"a", "c"} {
		inBubble(t, func(t *testing.T, c *trio, w *world) {
			c.lead("a")
			w.stage("main/1", queued)
			w.fails = context.DeadlineExceeded
			w.when("received", func() { w.when("received", func() { w.fails = nil }) })
			if _, err := c.nodes[through].operations.GetOperation(soon(t), get("main/1")); err != nil {
				t.Errorf("through %s: %v", through, err)
			}
		})
	}
}

func TestAWaitIsNotLongerForAChangeOfTheLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, c *trio, w *world) {
		c.lead("a")
		w.stage("main/1", queued)
		began := time.Now()
		go func() { time.Sleep(time.Minute); c.lead("b") }()
		op, err := c.nodes["c"].operations.WaitOperation(soon(t), &longrunningpb.WaitOperationRequest{Name: "main/1", Timeout: durationpb.New(90 * time.Second)})
		if err != nil || op.Done || time.Since(began) != 90*time.Second {
			t.Errorf("after %v: %v, %v", time.Since(began), op, err)
		}
	})
}

func TestTheDeadlineOfACallHolds(t *testing.T) {
	inBubble(t, func(t *testing.T, c *trio, w *world) {
		w.stage("main/1", queued)
		for _, leader := range []string{"", "a", "b"} {
			if leader != "" {
				c.lead(leader)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			_, err := c.nodes["b"].operations.WaitOperation(ctx, &longrunningpb.WaitOperationRequest{Name: "main/1"})
			if status.Code(err) != codes.DeadlineExceeded {
				t.Errorf("leader %q: %v", leader, err)
			}
			cancel()
		}
	})
}

// TestALongPollOfABotGoesOnAtTheNextLeader also looks at the metadata, which pass both
// ways, and at what the next leader is told: the same as the first.
func TestALongPollOfABotGoesOnAtTheNextLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, c *trio, w *world) {
		c.lead("a")
		n := c.nodes["c"]
		bot, err := n.bots.CreateBotSession(soon(t), &botspb.CreateBotSessionRequest{Parent: "main", BotSession: &botspb.BotSession{BotId: "b"}})
		if err != nil {
			t.Fatal(err)
		}
		ctx := metadata.AppendToOutgoingContext(soon(t), "partial-execution-metadata-1-bin", "\x02part", "x-request-actor", "me")
		var trailer metadata.MD
		done := make(chan error, 1)
		bot.Version = "7"
		var reply *botspb.BotSession
		go func() {
			var err error
			reply, err = n.bots.UpdateBotSession(ctx, &botspb.UpdateBotSessionRequest{Name: bot.Name, BotSession: bot}, grpc.Trailer(&trailer))
			done <- err
		}()
		time.Sleep(14 * time.Second)
		c.nodes["a"].kill()
		time.Sleep(time.Second)
		c.elect("")
		time.Sleep(time.Second)
		c.lead("b")
		time.Sleep(time.Second)
		w.give(&botspb.Lease{Id: "main/job"})
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		want := proto.CloneOf(bot)
		want.Leases = []*botspb.Lease{{Id: "main/job"}}
		if !proto.Equal(reply, want) || len(trailer["executeoperationmetadata-bin"]) != 1 {
			t.Errorf("got %v with %q", reply, trailer)
		}
		for _, md := range w.heard[1:] {
			if md.Get("partial-execution-metadata-1-bin")[0] != "\x02part" || md.Get("x-request-actor")[0] != "me" {
				t.Errorf("a leader got %q", md)
			}
		}
	})
}

func TestAnUnknownSessionIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, c *trio, w *world) {
		c.lead("a")
		w.gone["main/session"] = true
		_, err := c.nodes["b"].bots.UpdateBotSession(soon(t), &botspb.UpdateBotSessionRequest{Name: "main/session", BotSession: &botspb.BotSession{}})
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "not open") {
			t.Error(err)
		}
	})
}

// TestLargeMessagesPass sends as much as a client may, and takes more: the list of
// operations has no bound of its own.
func TestLargeMessagesPass(t *testing.T) {
	inBubble(t, func(t *testing.T, c *trio, w *world) {
		c.lead("a")
		const limit = 4 << 20
		room := limit - proto.Size(get(strings.Repeat("x", limit-100)))
		for more, want := range map[int]codes.Code{0: codes.NotFound, 1: codes.ResourceExhausted} {
			_, err := c.nodes["b"].operations.GetOperation(soon(t), get(strings.Repeat("x", limit-100+room+more)))
			if status.Code(err) != want {
				t.Errorf("%d bytes above the limit: %v, want %v", more, status.Code(err), want)
			}
		}
		w.stage(strings.Repeat("y", 2*limit), queued)
		list, err := c.nodes["b"].operations.ListOperations(soon(t), &longrunningpb.ListOperationsRequest{}, grpc.MaxCallRecvMsgSize(3*limit))
		if err != nil || len(list.Operations) != 1 {
			t.Errorf("%v", err)
		}
	})
}

func TestMetadataThatGRPCDoesNotSendStayBehind(t *testing.T) {
	in := metadata.MD{
		":authority": {"x"}, "content-type": {"x"}, "user-agent": {"x"}, "te": {"x"}, "grpc-timeout": {"1S"}, "grpc-trace-bin": {"x"},
		keyOperation: {"mine"}, keyClient: {"root"}, keyRepeated: {"1"},
		"x-request-actor": {"jürgen"}, "bad!key": {"x"}, "tab": {"a\tb"}, "": {"x"},
		"x-request-subject": {"me", "you"}, "raw-bin": {"\x00\xff"},
	}
	out, _ := metadata.FromOutgoingContext(passOn(metadata.NewIncomingContext(t.Context(), in), sched.Origin{OperationID: "id", Client: "ö"}))
	want := metadata.MD{"x-request-subject": {"me", "you"}, "raw-bin": {"\x00\xff"}, keyOperation: {"id"}}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
}

func TestOptionsSayWhatIsMissing(t *testing.T) {
	if _, err := New(Options{}); err == nil || !strings.Contains(err.Error(), "must be set") {
		t.Error(err)
	}
	if err := new(Router).Handle(&grpc.ServiceDesc{ServiceName: "none.Such"}); err == nil || !strings.Contains(err.Error(), "none.Such") {
		t.Error(err)
	}
}
