// Package bots serves the Bots service (google.devtools.remoteworkers.v1test2),
// by which remote workers get leases and hand in results, over the sessions of
// the scheduler. See DESIGN.md.
package bots

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Blobs is where the Actions of leases are read. *cas.Store is one.
type Blobs interface {
	Get(ctx context.Context, d digest.Digest) ([]byte, error)
}

// Options says what Register serves, and from where.
type Options struct {
	// Instance is the one instance name that is served.
	Instance string
	// EmptyInstance makes the empty instance name mean Instance too.
	EmptyInstance bool

	Scheduler *sched.Scheduler // required
	Blobs     Blobs            // required

	// Expiry is the scheduler's SessionExpiry: bots are told to call again before it
	// has passed, and a call waits for half of it at most. Default 30 s.
	Expiry time.Duration
	// Verify tells whether this node still leads: it is asked before a bot hears that
	// a lease which it works on is not its own any more. nil: there is no other node.
	Verify func(context.Context) error
	// Closing ends when the server is about to stop: calls that wait end with
	// UNAVAILABLE then. nil: never.
	Closing context.Context //nolint:containedctx // a signal
	Logger  *slog.Logger    // slog.Default() when nil
}

// Validate names what is missing.
func (o Options) Validate() error {
	if o.Scheduler == nil || o.Blobs == nil {
		return errors.New("Scheduler and Blobs must be set")
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.Expiry <= 0 {
		o.Expiry = 30 * time.Second
	}
	if o.Closing == nil {
		o.Closing = context.Background()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Register makes s serve Bots. Errors that are not a *status.Status are left to
// what s does with them.
func Register(s grpc.ServiceRegistrar, o Options) error {
	if err := o.Validate(); err != nil {
		return fmt.Errorf("register bots service: %w", err)
	}
	botspb.RegisterBotsServer(s, &service{o: o.withDefaults(), sessions: map[string]*session{}})
	return nil
}

// service implements Bots.
type service struct {
	botspb.UnimplementedBotsServer
	o Options

	mu       sync.Mutex
	sessions map[string]*session // by id of the scheduler's session; guarded by mu
}

// CreateBotSession opens a session, which takes over from an older one of the
// same bot: the leases that the request lists go on. Then it goes on as
// UpdateBotSession does. INVALID_ARGUMENT, UNAVAILABLE.
func (s *service) CreateBotSession(ctx context.Context, req *botspb.CreateBotSessionRequest) (*botspb.BotSession, error) {
	if err := s.checkInstance(req.Parent); err != nil {
		return nil, err
	}
	r, err := readReport(ctx, req.BotSession)
	if err != nil {
		return nil, err
	}
	r.version, r.versioned = 0, false
	open, err := s.o.Scheduler.OpenSession(ctx, sched.Bot{
		Instance: s.o.Instance, BotID: r.bot.BotId, Properties: r.properties, Capacity: r.capacity, Has: r.room, Leases: r.jobs(), Refuses: r.refusal(),
	})
	if err != nil {
		return nil, err
	}
	ses := s.remember(open)
	r.bot.Name = s.o.Instance + "/" + open.ID()
	return s.serve(ctx, ses, r)
}

// UpdateBotSession takes over what the bot says of itself and its leases, and
// answers with the leases that it should have: at once when they differ from
// those that it listed, otherwise when they change or after a while.
// INVALID_ARGUMENT: what the bot sent makes no sense, or the session is not
// open, and the bot creates another. UNAVAILABLE: it repeats the call.
func (s *service) UpdateBotSession(ctx context.Context, req *botspb.UpdateBotSessionRequest) (*botspb.BotSession, error) {
	id, err := s.sessionID(req.Name)
	if err != nil {
		return nil, err
	}
	if req.Name != req.GetBotSession().GetName() {
		return nil, invalid("bot_session.name", fmt.Sprintf("%q is not the name %q of the request", req.GetBotSession().GetName(), req.Name))
	}
	r, err := readReport(ctx, req.BotSession)
	if err != nil {
		return nil, err
	}
	ses, err := s.find(id)
	if err != nil || ses.open.BotID() != r.bot.BotId {
		return nil, unknownSession(req.Name)
	}
	return s.serve(ctx, ses, r)
}

// serve does what both calls have in common. One call of a session is served at
// a time.
func (s *service) serve(ctx context.Context, ses *session, r *report) (*botspb.BotSession, error) {
	leave, err := ses.takeTurn(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	ses.goOn(r.version)
	ses.open.SetRoom(r.room)
	c := &call{service: s, session: ses, report: r}
	reply, err := c.run(ctx)
	if errors.Is(err, sched.ErrUnknownBot) {
		s.forget(ses)
		return nil, unknownSession(r.bot.Name)
	}
	return reply, err
}
