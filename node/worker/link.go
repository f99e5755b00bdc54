package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/runners"
)

// link is the worker's side of a bot session, over whatever happens to servers and
// connections. It implements runners.Leases: leases that a reply carries are
// events, completions are kept until a reply no longer lists the lease.
type link struct {
	o    *Options
	log  *slog.Logger
	conn *grpc.ClientConn
	bots botspb.BotsClient
	wake chan struct{} // for Next

	mu       sync.Mutex
	name     string // of the session; "": a new one is created with the next call
	version  string // of the last reply
	held     map[string]*held
	events   []runners.Event
	news     bool   // there is something that the call under way does not tell
	cut      func() // ends the call under way, if it only waits
	leaving  bool
	leaveBy  time.Time // when the last call is given up
	closed   bool
	health   health
	answered bool // the last call was
	meetings int  // how often it was the first after one that was not
}

// held is a lease in hand.
type held struct {
	lease   *botspb.Lease // as the server sent it
	attempt int32
	ended   *botspb.Lease // what is reported once it ended
	acked   chan struct{} // closed when the server knows how it ended, or wants to hear no more of it
}

func newLink(o *Options) (*link, error) {
	conn, err := dialBots(o)
	if err != nil {
		return nil, err
	}
	return &link{
		o: o, log: o.Logger, conn: conn, bots: botspb.NewBotsClient(conn),
		wake: make(chan struct{}, 1), held: map[string]*held{},
	}, nil
}

// Bounds of a call. The server answers before four fifths of it, and at once when
// that is short: so a worker knows early that it is connected.
const (
	callDeadline  = time.Minute
	helloDeadline = 3 * time.Second
)

// run talks to the server until the worker has left, or ctx ends. It returns an
// error when the server will never take this worker.
func (l *link) run(ctx context.Context) error {
	defer l.close()
	pause := newPause()
	for first := true; ctx.Err() == nil; {
		said, call, done := l.begin(ctx)
		reply, err := l.talk(call, said)
		interrupted := done()
		switch {
		case err == nil:
			l.hear(said, reply)
			first = false
			pause.reset()
			if said.last {
				l.log.Info("left the server")
				return nil
			}
			continue
		case interrupted:
			continue
		case first && isFinal(err):
			return explain(err)
		}
		l.failed(said, err)
		if said.last && l.triedEnough() {
			return nil
		}
		pause.wait(ctx)
	}
	return nil
}

// talk makes one call.
func (l *link) talk(ctx context.Context, s *said) (*botspb.BotSession, error) {
	if s.bot.Name == "" {
		return l.bots.CreateBotSession(ctx, &botspb.CreateBotSessionRequest{Parent: l.o.Instance, BotSession: s.bot})
	}
	return l.bots.UpdateBotSession(ctx, &botspb.UpdateBotSessionRequest{Name: s.bot.Name, BotSession: s.bot})
}

// isFinal tells whether a first call failed for good.
func isFinal(err error) bool {
	code := status.Code(err)
	return code == codes.InvalidArgument || code == codes.Unimplemented || code == codes.PermissionDenied || code == codes.Unauthenticated
}

func explain(err error) error {
	s := status.Convert(err)
	if s.Code() == codes.Unimplemented {
		return status.Error(codes.Unimplemented, "the server does not serve workers (google.devtools.remoteworkers.v1test2.Bots)")
	}
	return status.Error(s.Code(), client.Describe(s))
}

// failed notes that a call was not answered, or refused.
func (l *link) failed(s *said, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if status.Code(err) == codes.InvalidArgument && s.bot.Name != "" {
		l.log.Warn("the server has closed the session: opening another", "leases", len(l.held), "error", err)
		l.name, l.version = "", ""
		return
	}
	if l.answered {
		l.log.Warn("the server does not answer; what runs goes on", "leases", len(l.held), "error", err)
	}
	l.answered = false
}

// close ends the events.
func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for id := range l.held {
		l.drop(id)
	}
	l.signal()
}

func (l *link) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// drop forgets a lease. l.mu is held.
func (l *link) drop(id string) {
	close(l.held[id].acked)
	delete(l.held, id)
}

// tell has what is new told at once. l.mu is held.
func (l *link) tell() {
	l.news = true
	if l.cut != nil {
		l.cut()
	}
}

// terminate takes no more leases; run ends when those in hand have ended.
func (l *link) terminate() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaving = true
	l.tell()
}

// abandon is terminate, without waiting for the leases in hand: they are given
// back.
func (l *link) abandon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaving = true
	for id := range l.held {
		l.drop(id)
	}
	l.tell()
}
