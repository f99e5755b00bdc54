package bots

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

func anyOf(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		panic(err)
	}
	return a
}

func TestACreatedSessionEchoesTheBot(t *testing.T) {
	g := newGrid(t)
	sent := bot("b1", 2)
	got := g.create(proto.CloneOf(sent))
	prefix, id, _ := strings.Cut(got.Name, "/")
	if _, err := uuid.Parse(id); prefix != instance || err != nil {
		t.Errorf("name %q, want %s/<uuid>", got.Name, instance)
	}
	if left := time.Until(got.ExpireTime.AsTime()); left <= 0 || left > 30*time.Second {
		t.Errorf("expires in %s, want 30 s", left)
	}
	if got.Version == "" {
		t.Error("no version")
	}
	got.Name, got.ExpireTime, got.Version = "", nil, ""
	if diff := cmp.Diff(sent, got, protocmp.Transform()); diff != "" {
		t.Errorf("the rest is not echoed (-want +have):\n%s", diff)
	}
}

func TestALeaseGoesTheWayOfBuildGrid(t *testing.T) {
	g := newGrid(t)
	first, second := g.submit("a"), g.submit("b")
	var trailer metadata.MD
	b := g.wantLeases(g.create(bot("b1", 1), grpc.Trailer(&trailer)), 1)
	l := b.Leases[0]
	if want := g.state(first).Job.ID; l.Id != instance+"/"+want || l.State != botspb.LeaseState_ACTIVE {
		t.Errorf("lease %s is %v, want %s/%s, ACTIVE", l.Id, l.State, instance, want)
	}
	if l.Payload.TypeUrl != "type.googleapis.com/build.bazel.remote.execution.v2.Action" || string(l.Payload.Value) != string(blob("a")) {
		t.Errorf("payload %v is not the blob of the action", l.Payload)
	}
	values := trailer.Get("executeoperationmetadata-bin")
	told := new(repb.ExecuteOperationMetadata)
	if len(values) != 1 || proto.Unmarshal([]byte(values[0]), told) != nil {
		t.Fatalf("trailing metadata %v", trailer)
	}
	m := told.PartialExecutionMetadata
	if told.Stage != repb.ExecutionStage_EXECUTING || told.ActionDigest.GetHash() != digest.Of(digest.SHA256, blob("a")).Proto().Hash ||
		m.GetWorker() != "b1" || m.GetQueuedTimestamp() == nil || m.GetWorkerStartTimestamp() == nil {
		t.Errorf("metadata %v", told)
	}

	same := g.update(b)
	if diff := cmp.Diff(b.Leases, same.Leases, protocmp.Transform()); diff != "" || same.Version != b.Version {
		t.Errorf("nothing happened, but version %s became %s: %s", b.Version, same.Version, diff)
	}
	next := g.wantLeases(g.update(done(b, 0)), 1)
	if next.Leases[0].Id != instance+"/"+g.state(second).Job.ID || next.Version == b.Version {
		t.Errorf("the reply to a completion has lease %s at version %s, want the next one at another", next.Leases[0].Id, next.Version)
	}
	if st := g.state(first); !st.Done || string(st.Response.GetResult().GetStdoutRaw()) != "ran" ||
		st.Response.Result.ExecutionMetadata.GetWorker() != "b1" {
		t.Errorf("the operation: %v", st.Response)
	}
	g.wantLeases(g.update(done(next, 0)), 0)
}

func TestALeaseSaysWhatTheActionDoesNot(t *testing.T) {
	g := newGrid(t)
	g.submit("a")
	want := &botspb.Worker{
		Properties: []*botspb.Worker_Property{{Key: "OSFamily", Value: "linux"}, {Key: "network", Value: "off"}},
		Configs: []*botspb.Worker_Config{
			{Key: "action", Value: digest.Of(digest.SHA256, blob("a")).String()}, {Key: "attempt", Value: "1"}, {Key: "timeout", Value: "3600000000000"},
		},
	}
	b := g.wantLeases(g.create(bot("b", 1)), 1)
	if diff := cmp.Diff(want, b.Leases[0].Requirements, protocmp.Transform()); diff != "" {
		t.Errorf("requirements (-want +have):\n%s", diff)
	}
}

func TestACancelledLeaseIsGoneAndItsEndIsIgnored(t *testing.T) {
	g := newGrid(t)
	op := g.submit("a")
	b := g.wantLeases(g.create(bot("b", 1)), 1)
	if err := g.scheduler.Cancel(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	late := done(b, 0)
	gone := g.wantLeases(g.update(b), 0)
	late.Version = gone.Version
	g.wantLeases(g.update(late), 0)
	if st := g.state(op); st.Response.GetStatus().GetCode() != int32(code.Code_CANCELLED) {
		t.Errorf("the operation ended with %v", st.Response)
	}
}

func TestTheSlotOfACancelledLeaseIsFreeOnceTheBotDroppedIt(t *testing.T) {
	g := newGrid(t)
	op := g.submit("a")
	b := g.wantLeases(g.create(bot("b", 1)), 1)
	if err := g.scheduler.Cancel(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	g.submit("b")
	b = g.wantLeases(g.update(b), 0) // it may still be killing the first
	g.wantLeases(g.update(b), 1)
}

func TestCodesThatAskForAnotherAttempt(t *testing.T) {
	for _, c := range []struct {
		code   codes.Code
		result *repb.ActionResult
		again  bool
	}{
		{codes.Internal, nil, true},
		{codes.Unavailable, nil, true},
		{codes.OK, nil, true}, // a success without a result is none
		{codes.DeadlineExceeded, &repb.ActionResult{ExitCode: 137}, false},
		{codes.NotFound, nil, false},
	} {
		t.Run(c.code.String(), func(t *testing.T) {
			g := newGrid(t)
			op := g.submit("a")
			b := g.wantLeases(g.create(bot("b", 1)), 1)
			if !c.again {
				g.wantLeases(g.update(ended(b, 0, c.code, c.result)), 0)
				if st := g.state(op); !st.Done || st.Response.GetStatus().GetCode() != int32(c.code) {
					t.Errorf("done %t with %v", st.Done, st.Response)
				}
				return
			}
			for range 4 {
				b = g.wantLeases(g.update(g.update(ended(b, 0, c.code, c.result))), 1)
			}
			g.wantStage(op, queue.Executing, 4)
			g.wantLeases(g.update(ended(b, 0, c.code, c.result)), 0)
			if st := g.state(op); st.Response.GetStatus().GetCode() != int32(code.Code_ABORTED) {
				t.Errorf("after five attempts: %v", st.Response)
			}
		})
	}
}

func TestTheSameBotTakesOver(t *testing.T) {
	g := newGrid(t)
	kept, lost := g.submit("kept"), g.submit("lost")
	old := g.wantLeases(g.create(bot("b", 2)), 2)
	again := bot("b", 2)
	for _, l := range old.Leases {
		if strings.HasSuffix(l.Id, g.state(kept).Job.ID) {
			again.Leases = append(again.Leases, proto.CloneOf(l))
		}
	}
	again.Status = botspb.BotStatus_UNHEALTHY // so that it does not get the other one back
	b := g.wantLeases(g.create(again), 1)
	g.wantStage(kept, queue.Executing, 0)
	g.wantStage(lost, queue.Queued, 1)
	_, err := g.tryUpdate(glance, old)
	wantInvalid(t, err, "is not open: create a new one")
	b.Status = botspb.BotStatus_OK
	b = done(b, 0)
	g.wantLeases(g.update(g.update(b)), 1)
	if st := g.state(kept); !st.Done || st.Job.Attempt != 1 {
		t.Errorf("the listed lease: done %t in attempt %d", st.Done, st.Job.Attempt)
	}
}

func TestATakeOverMayBringAResult(t *testing.T) {
	g := newGrid(t)
	op := g.submit("a")
	old := g.wantLeases(g.create(bot("b", 1)), 1)
	again := done(old, 0)
	again.Name = ""
	g.wantLeases(g.create(again), 0)
	if st := g.state(op); !st.Done || st.Job.Attempt != 1 {
		t.Errorf("done %t in attempt %d", st.Done, st.Job.Attempt)
	}
}

func TestABotThatIsNotOKGetsNothing(t *testing.T) {
	for value, name := range botspb.BotStatus_name {
		g := newGrid(t)
		g.submit("a")
		b := bot("b", 1)
		b.Status = botspb.BotStatus(value)
		want := 0
		if b.Status == botspb.BotStatus_OK {
			want = 1
		}
		if have := len(g.create(b).Leases); have != want {
			t.Errorf("%s: %d leases, want %d", name, have, want)
		}
	}
}

func TestATerminatingBotKeepsItsLeaseAndThenLeaves(t *testing.T) {
	g := newGrid(t)
	op, waits := g.submit("a"), g.submit("b")
	b := g.wantLeases(g.create(bot("b", 1)), 1)
	b.Status = botspb.BotStatus_BOT_TERMINATING
	b = g.wantLeases(g.update(b), 1)
	b = g.wantLeases(g.update(done(b, 0)), 0)
	g.update(b) // has nothing more: the session is closed
	if !g.state(op).Done {
		t.Error("its lease did not end")
	}
	g.wantStage(waits, queue.Queued, 0)
	if _, err := g.tryUpdate(glance, b); err == nil {
		t.Error("the session is still open")
	}
}

func TestALeavingBotGivesBackWhatItGaveUp(t *testing.T) {
	g := newGrid(t)
	op := g.submit("a")
	b := without(g.wantLeases(g.create(bot("b", 1)), 1), 0)
	b.Status = botspb.BotStatus_BOT_TERMINATING
	g.update(b)
	if st := g.state(op); st.Stage != queue.Queued || st.Job.Failures != 0 || st.Job.Losses != 1 {
		t.Errorf("stage %v, %d failures, %d losses: want it queued, at no fault of its own", st.Stage, st.Job.Failures, st.Job.Losses)
	}
}

func TestCapacityAndPropertiesMayChange(t *testing.T) {
	g := newGrid(t)
	g.submit("a")
	g.submit("b")
	b := bot("b", 1)
	b.Worker.Devices[0].Properties[0].Value = "plan9"
	b = g.wantLeases(g.create(b), 0)
	b.Worker.Properties = append(b.Worker.Properties, &botspb.Worker_Property{Key: "OSFamily", Value: "linux"})
	b = g.wantLeases(g.update(b), 1)
	b.Worker.Configs[0].Value = "2"
	g.wantLeases(g.update(b), 2)
}

func TestALostActionEndsTheLease(t *testing.T) {
	g := newGrid(t)
	op := g.submitDigest("gone", digest.Of(digest.SHA256, []byte("gone")))
	next := g.submit("there")
	b := g.wantLeases(g.create(bot("b", 1)), 1)
	if b.Leases[0].Id != instance+"/"+g.state(next).Job.ID {
		t.Error("the other action is not handed out")
	}
	if st := g.state(op); st.Response.GetStatus().GetCode() != int32(code.Code_FAILED_PRECONDITION) || len(st.Response.Status.Details) != 1 {
		t.Errorf("the lost one ended with %v", st.Response)
	}
}

func TestWhatABotMayNotSay(t *testing.T) {
	g := newGrid(t)
	g.submit("a")
	open := g.wantLeases(g.create(bot("b", 1)), 1)
	for _, c := range []struct {
		rule string
		do   func(b *botspb.BotSession)
		want string
	}{
		{"no bot id", func(b *botspb.BotSession) { b.BotId = "" }, "Bots's id must be set by client."},
		{"an endless bot id", func(b *botspb.BotSession) { b.BotId = strings.Repeat("x", 300) }, "at most 256"},
		{"the id of another", func(b *botspb.BotSession) { b.BotId = "c" }, "is not open"},
		{"another session", func(b *botspb.BotSession) { b.Name = instance + "/" + uuid.NewString() }, "is not open"},
		{"another instance", func(b *botspb.BotSession) { b.Name = "nope/" + uuid.NewString() }, "Invalid instance name: [nope]"},
		{"a bare uuid", func(b *botspb.BotSession) { b.Name = uuid.NewString() }, "Invalid instance name: []"},
		{"a version of its own", func(b *botspb.BotSession) { b.Version = "v1" }, "bot_session.version"},
		{"no number as capacity", func(b *botspb.BotSession) { b.Worker.Configs[0].Value = "many" }, `capacity "many"`},
		{"capacity 0", func(b *botspb.BotSession) { b.Worker.Configs[0].Value = "0" }, "from 1 to 10000"},
		{"too much capacity", func(b *botspb.BotSession) { b.Worker.Configs[0].Value = "10001" }, "from 1 to 10000"},
		{"too many properties", func(b *botspb.BotSession) {
			for i := range 300 {
				b.Worker.Properties = append(b.Worker.Properties, &botspb.Worker_Property{Key: fmt.Sprint(i)})
			}
		}, "at most 256"},
		{"a property without a key", func(b *botspb.BotSession) { b.Worker.Properties = []*botspb.Worker_Property{{Value: "x"}} }, "no key"},
		{"a cancellation", func(b *botspb.BotSession) { b.Leases[0].State = botspb.LeaseState_CANCELLED }, "may not set a lease to CANCELLED"},
		{"a result of another type", func(b *botspb.BotSession) {
			b.Leases[0].State, b.Leases[0].Result = botspb.LeaseState_COMPLETED, anyOf(&repb.Digest{})
		}, "bot_session.leases.result"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			b := proto.CloneOf(open)
			c.do(b)
			_, err := g.tryUpdate(glance, b)
			wantInvalid(t, err, c.want)
		})
	}
	_, err := g.client.UpdateBotSession(t.Context(), &botspb.UpdateBotSessionRequest{Name: open.Name})
	wantInvalid(t, err, "bot_session.name")
	_, err = g.client.CreateBotSession(t.Context(), &botspb.CreateBotSessionRequest{Parent: instance})
	wantInvalid(t, err, "Bots's id must be set by client.")
	_, err = g.client.CreateBotSession(t.Context(), &botspb.CreateBotSessionRequest{Parent: "nope", BotSession: bot("b", 1)})
	wantInvalid(t, err, "Invalid instance name: [nope]")
	g.wantLeases(g.update(open), 1) // none of it did any harm
}

func TestPartialMetadataMustBeWhatItIsCalled(t *testing.T) {
	g := newGrid(t)
	b := g.create(bot("b", 1))
	for _, c := range []struct {
		rule, value string
		ok          bool
	}{{"metadata", string(must(proto.Marshal(&repb.ExecutedActionMetadata{Worker: "b"}))), true}, {"garbage", "\xff\xff", false}} {
		ctx, cancel := context.WithTimeout(t.Context(), glance)
		ctx = metadata.AppendToOutgoingContext(ctx, "partial-execution-metadata-"+uuid.NewString()+"-bin", c.value)
		_, err := g.client.UpdateBotSession(ctx, &botspb.UpdateBotSessionRequest{Name: b.Name, BotSession: b})
		cancel()
		if c.ok && err != nil {
			t.Errorf("%s: %v", c.rule, err)
		}
		if !c.ok {
			wantInvalid(t, err, "is no ExecutedActionMetadata")
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestTrailingMetadataStayWithinWhatClientsTake(t *testing.T) {
	g := newGrid(t)
	for i := range 100 {
		g.submit(fmt.Sprint(i))
	}
	var trailer metadata.MD
	g.wantLeases(g.create(bot("b", 100), grpc.Trailer(&trailer)), 100)
	if n := len(trailer.Get("executeoperationmetadata-bin")); n == 0 || n == 100 {
		t.Errorf("%d values, want those that fit", n)
	}
}
