package sched

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/queue"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
	"github.com/google/uuid"
)

// Session is an open session of a bot, local or remote. Its methods may be
// called from any goroutine.
type Session struct {
	s      *Scheduler
	row    *queue.Session
	offers map[queue.Property]struct{}
	wake   chan struct{} // one Next at a time is woken

	// Guarded by s.mu.
	shown     *queue.Session // row, but with what the bot last said of itself, see Reshape
	classes   []*class
	leases    map[string]*lease    // by job
	lingering map[string]lingering // slots of cancelled leases that the bot may still be killing
	reserved  int                  // slots promised
	has       Resources            // what is shared by leases, promises and lingering ones
	used      Resources            // by those
	kept      kept                 // for whom it is kept free
	events    []Event              // for Next
	given     uint64               // when it was last given a job, on the scheduler's sequence
	calls     int                  // of the bot that are under way
	polls     int                  // of those, the ones that wait, see Await
	seen      time.Time            // the end of its last call
	expiry    *time.Timer          // nil for a session of this process
	away      bool                 // open since before the node started, and not heard of since
	drained   bool                 // by an operator: takes no more jobs
	refuses   string               // why the bot itself takes no more jobs; "" when it does
	settling  bool                 // its opening is being taken over
	closed    bool
}

func newSession(s *Scheduler, row *queue.Session) *Session {
	ses := &Session{
		s: s, row: row, shown: row, offers: make(map[queue.Property]struct{}, len(row.Properties)),
		wake: make(chan struct{}, 1), leases: map[string]*lease{}, seen: time.Now(),
	}
	for _, p := range row.Properties {
		ses.offers[p] = struct{}{}
	}
	return ses
}

// OpenSession opens a session for a bot. An older session of the same bot is
// closed in the same step; the jobs that b.Leases lists go on in the new one, the
// others are queued again.
func (s *Scheduler) OpenSession(ctx context.Context, b Bot) (*Session, error) {
	if b.BotID == "" || b.Capacity <= 0 {
		return nil, fmt.Errorf("open session of bot %q: id and capacity must be set", b.BotID)
	}
	key := botKey{b.Instance, b.BotID}
	older, err := s.takeTurn(ctx, key, entrance{line(b.Refuses), b.Has})
	if err != nil {
		return nil, err
	}
	id := uuid.NewString()
	entries := []*commandpb.Entry{openEntry(id, s.o.NodeID, b)}
	if older != nil {
		entries = append(entries, takeOverEntry(older.row.ID, id, b.Leases))
	}
	errs, err := s.propose(ctx, entries...)

	s.mu.Lock()
	defer s.unlock()
	s.opening.land(key)
	delete(s.entering, key)
	if err == nil {
		err = errs[0] // the older one may be closed by now
	}
	if err != nil {
		return nil, fmt.Errorf("open session of bot %q: %w", b.BotID, err)
	}
	ses := s.sessions[id]
	if ses == nil {
		return nil, fmt.Errorf("open session of bot %q: closed again: %w", b.BotID, ErrUnknownBot)
	}
	return ses, nil
}

// takeTurn waits until nobody else opens a session for the bot, and returns the
// one that is open.
func (s *Scheduler) takeTurn(ctx context.Context, key botKey, e entrance) (*Session, error) {
	for {
		s.mu.Lock()
		if s.draining || s.stopped {
			s.mu.Unlock()
			return nil, ErrDraining
		}
		turn, busy := s.opening[key]
		if !busy {
			s.opening[key] = make(chan struct{})
			s.entering[key] = e
			older := s.bots[key]
			s.mu.Unlock()
			return older, nil
		}
		s.mu.Unlock()
		select {
		case <-turn:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func openEntry(id, nodeID string, b Bot) *commandpb.Entry {
	return &commandpb.Entry{Entry: &commandpb.Entry_OpenSession{OpenSession: &queuepb.OpenSession{
		SessionId: id, Instance: b.Instance, BotId: b.BotID, Properties: propertiesPB(b.Properties),
		Capacity: int32(b.Capacity), Local: b.Local, NodeId: nodeID,
	}}}
}

func closeEntry(id, reason string, interrupted bool) *commandpb.Entry {
	return &commandpb.Entry{Entry: &commandpb.Entry_CloseSession{CloseSession: &queuepb.CloseSession{
		SessionId: id, Reason: reason, Interrupted: interrupted,
	}}}
}

// takeOverEntry closes a session in favour of another of the same bot.
func takeOverEntry(older, id string, keep []string) *commandpb.Entry {
	e := closeEntry(older, "the worker opened a new session without this job", false)
	if len(keep) > 0 {
		m := e.GetCloseSession()
		m.Keep, m.KeepSession = keep, id
	}
	return e
}

// Session returns the open session with this id, or ErrUnknownBot: so a remote
// bot finds its session again after the node was restarted.
func (s *Scheduler) Session(id string) (*Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ses := s.sessions[id]; ses != nil {
		return ses, nil
	}
	return nil, ErrUnknownBot
}

// ID returns the session's id, a UUID.
func (ses *Session) ID() string { return ses.row.ID }

// Next waits for the next event. io.EOF: there will be none, since the session
// is closed, or the node drains and the session's last lease has ended. Events
// that were pending come first.
func (ses *Session) Next(ctx context.Context) (Event, error) {
	s := ses.s
	ses.enter()
	defer ses.leave()
	for {
		s.mu.Lock()
		e, ok := ses.pop()
		over := ses.over()
		stopped := s.stopped
		s.mu.Unlock()
		switch {
		case ok:
			return e, nil
		case over:
			signal(ses.wake) // for other calls of Next
			return Event{}, io.EOF
		case stopped:
			return Event{}, ErrStopped
		}
		select {
		case <-ses.wake:
		case <-s.ctx.Done():
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// Leases returns what the session has in hand, for a bot that comes back.
func (ses *Session) Leases() []Lease {
	ses.s.mu.Lock()
	defer ses.s.mu.Unlock()
	out := make([]Lease, 0, len(ses.leases))
	for _, l := range ses.leases {
		out = append(out, ses.s.leaseOf(l))
	}
	return out
}

// Heartbeat tells that the bot lives. Next and Complete tell so as well.
// ErrUnknownBot: the session is closed.
func (ses *Session) Heartbeat() error {
	ses.enter()
	defer ses.leave()
	ses.s.mu.Lock()
	defer ses.s.mu.Unlock()
	if ses.closed {
		return ErrUnknownBot
	}
	return nil
}

// Close ends the session; what it still has is queued again, at no fault of the
// jobs. Closing a closed session is fine.
func (ses *Session) Close(ctx context.Context, reason string) error {
	refused, err := ses.s.proposeOne(ctx, closeEntry(ses.row.ID, reason, true))
	if err != nil {
		return fmt.Errorf("close session %s: %w", ses.row.ID, err)
	}
	_ = refused // closed already
	return nil
}

func propertiesPB(ps []queue.Property) []*queuepb.Property {
	out := make([]*queuepb.Property, len(ps))
	for i, p := range ps {
		out[i] = &queuepb.Property{Name: p.Name, Value: p.Value}
	}
	return out
}
