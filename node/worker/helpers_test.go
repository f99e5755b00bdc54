package worker

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/runners"
)

// script is the server of one link: each call waits for the test to answer it.
type script struct {
	t     *testing.T
	link  *link
	calls chan *call
	ended chan error
	stop  context.CancelFunc
}

// call is a call of the link that waits for its answer.
type call struct {
	ctx    context.Context
	create bool
	bot    *botspb.BotSession
	answer chan answer
}

type answer struct {
	bot *botspb.BotSession
	err error
}

// CreateBotSession implements botspb.BotsClient.
func (s *script) CreateBotSession(ctx context.Context, req *botspb.CreateBotSessionRequest, _ ...grpc.CallOption) (*botspb.BotSession, error) {
	return s.ask(ctx, true, req.BotSession)
}

// UpdateBotSession implements botspb.BotsClient.
func (s *script) UpdateBotSession(ctx context.Context, req *botspb.UpdateBotSessionRequest, _ ...grpc.CallOption) (*botspb.BotSession, error) {
	return s.ask(ctx, false, req.BotSession)
}

func (s *script) ask(ctx context.Context, create bool, bot *botspb.BotSession) (*botspb.BotSession, error) {
	c := &call{ctx: ctx, create: create, bot: proto.CloneOf(bot), answer: make(chan answer, 1)}
	select {
	case s.calls <- c:
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	select {
	case a := <-c.answer:
		return a.bot, a.err
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

// inScript runs a test in virtual time with a link that has begun to talk.
func inScript(t *testing.T, test func(t *testing.T, s *script)) {
	synctest.Test(t, func(t *testing.T) {
		o := &Options{
			Instance: "main", BotID: "w1", Slots: 2, Logger: slog.New(slog.DiscardHandler),
			Properties: []runners.Property{{Name: "OSFamily", Value: "linux"}},
		}
		s := &script{t: t, calls: make(chan *call), ended: make(chan error, 1)}
		s.link = &link{o: o, log: o.Logger, bots: s, wake: make(chan struct{}, 1), held: map[string]*held{}}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s.stop = cancel
		go func() { s.ended <- s.link.run(ctx) }()
		test(t, s)
	})
}

// next returns the next call.
func (s *script) next() *call {
	s.t.Helper()
	select {
	case c := <-s.calls:
		return c
	case <-time.After(time.Hour):
		s.t.Fatal("no call comes")
		return nil
	}
}

// report returns the next call that says that the lease has ended.
func (s *script) report(job string) *call {
	s.t.Helper()
	for {
		if c := s.next(); c.states()[job] == botspb.LeaseState_COMPLETED {
			return c
		}
	}
}

// reply answers with these leases, as a server does that echoes the rest.
func (c *call) reply(version int, leases ...*botspb.Lease) {
	bot := proto.CloneOf(c.bot)
	if c.create {
		bot.Name = "main/session"
	}
	bot.Version, bot.Leases = fmt.Sprint(version), leases
	c.answer <- answer{bot: bot}
}

func (c *call) fail(code codes.Code) { c.answer <- answer{err: status.Error(code, "told by the test")} }

// open answers the first call.
func (s *script) open(leases ...*botspb.Lease) {
	s.t.Helper()
	c := s.next()
	if !c.create || c.bot.BotId != "w1" {
		s.t.Fatalf("the first call is %v", c.bot)
	}
	c.reply(1, leases...)
}

// assigned is a lease as this project's server sends it.
func assigned(job string, attempt int) *botspb.Lease {
	action, err := anypb.New(&repb.Action{Salt: []byte(job)})
	if err != nil {
		panic(err)
	}
	return &botspb.Lease{
		Id: "main/" + job, State: botspb.LeaseState_ACTIVE, Payload: action,
		Requirements: &botspb.Worker{Configs: []*botspb.Worker_Config{{Key: "attempt", Value: fmt.Sprint(attempt)}}},
	}
}

// event returns the next event of the runner's side.
func (s *script) event() runners.Event {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Hour)
	defer cancel()
	e, err := s.link.Next(ctx)
	if err != nil {
		s.t.Fatalf("next event: %v", err)
	}
	return e
}

// start takes the lease that comes next.
func (s *script) start(job string, attempt int32) {
	s.t.Helper()
	if e := s.event(); e.Assigned == nil || e.Assigned.ID != job || e.Assigned.Attempt != attempt {
		s.t.Fatalf("event %+v, want job %s in attempt %d", e, job, attempt)
	}
}

// complete ends a lease as the runner's side does; the channel tells when the
// server has taken it.
func (s *script) complete(job string, attempt int32, code codes.Code) <-chan error {
	out := make(chan error, 1)
	c := runners.Completion{LeaseID: job, Attempt: attempt, Result: &repb.ActionResult{ExitCode: 3}}
	if code != codes.OK {
		c.Status, c.Result = status.New(code, "told by the test").Proto(), nil
	}
	go func() { out <- s.link.Complete(s.t.Context(), c) }()
	return out
}

func pending(done <-chan error) bool {
	synctest.Wait()
	return len(done) == 0
}

// states are those of the leases in a call.
func (c *call) states() map[string]botspb.LeaseState {
	out := map[string]botspb.LeaseState{}
	for _, l := range c.bot.Leases {
		out[jobOf(l.Id)] = l.State
	}
	return out
}
