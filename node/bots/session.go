package bots

import (
	"context"
	"sync"
	"time"

	"github.com/bgrid-node/bgrid-node/node/sched"
)

// session is what is kept of an open session beside the scheduler's. All of it
// may be lost: see before.
type session struct {
	open *sched.Session
	turn chan struct{} // holds a token while nobody has the turn

	mu        sync.Mutex
	waiting   int    // calls that want the turn
	interrupt func() // ends the wait of the call that has it; nil: it does not wait
	holdsBack bool   // see noteEnds

	// Only for who has the turn.
	heard   bool            // there was a call
	version int64           // of the last reply
	told    map[string]told // by job: what the last reply carried
	sat     bool            // the last call waited to its end, with leases in the bot's hands
}

// told says in which reply an attempt of a job was first carried.
type told struct {
	attempt int32
	version int64
}

// before is the version of leases that the bot may know, or not, from a process
// before this one. It is below all that are given out.
const before = 0

// remember returns the session for a scheduler's session, and makes it when it is
// new to this process. What such a session has already may have been told.
func (s *service) remember(open *sched.Session) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ses := s.sessions[open.ID()]; ses != nil {
		return ses
	}
	ses := &session{
		open: open, turn: make(chan struct{}, 1), told: map[string]told{},
		// Above all that this node gave out before, as long as it was fewer than one in a
		// microsecond. Another one's clock may be ahead: see goOn.
		version: time.Now().UnixMicro(),
	}
	ses.turn <- struct{}{}
	for _, l := range open.Leases() {
		ses.told[l.Job.ID] = told{attempt: l.Attempt, version: before}
	}
	for id := range s.sessions { // those that ended without a word
		if _, err := s.o.Scheduler.Session(id); err != nil {
			delete(s.sessions, id)
		}
	}
	s.sessions[open.ID()] = ses
	return ses
}

// unquoted bounds how many versions an earlier process may have given out since the
// reply that the bot quotes to this one.
const unquoted = 1 << 20

// goOn makes versions go on above what the bot quotes. Where another node led before,
// whose clock was ahead, a bot would otherwise seem to know what it is sent first.
func (ses *session) goOn(quoted int64) {
	if !ses.heard {
		ses.heard = true
		quoted += unquoted
	}
	ses.version = max(ses.version, quoted)
}

// find returns an open session by its id, also one from before a restart.
func (s *service) find(id string) (*session, error) {
	open, err := s.o.Scheduler.Session(id)
	if err != nil {
		return nil, err
	}
	return s.remember(open), nil
}

func (s *service) forget(ses *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, ses.open.ID())
}

// takeTurn waits until no other call of the session is served; one that only
// waits for news is sent back for that. The function returned ends the turn.
func (ses *session) takeTurn(ctx context.Context) (func(), error) {
	ses.mu.Lock()
	ses.waiting++
	if ses.interrupt != nil {
		ses.interrupt()
		ses.holdsBack = false
	}
	ses.mu.Unlock()
	defer func() {
		ses.mu.Lock()
		ses.waiting--
		ses.mu.Unlock()
	}()
	select {
	case <-ses.turn:
		return func() { ses.turn <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// beginWait notes how the call that has the turn can be interrupted; false when
// another wants the turn already.
func (ses *session) beginWait(interrupt func()) bool {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if ses.waiting > 0 {
		return false
	}
	ses.interrupt = interrupt
	return true
}

// endWait notes whether the call waited to its end, or was given up by its bot.
func (ses *session) endWait(sat, givenUp bool) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	ses.interrupt = nil
	ses.sat = sat
	if givenUp {
		ses.holdsBack = false
	}
}

// noteEnds looks for bots that hold their results back for as long as a call waits
// (one thread, one lock): such a bot reports the end of a lease right after a call
// that waited to its end. What it has in hand must not wait for long then. A bot
// that ends a waiting call by itself, or with another call, is none.
func (ses *session) noteEnds(ends int) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if ses.sat && ends > 0 {
		ses.holdsBack = true
	}
	ses.sat = false
}

func (ses *session) isHeldBack() bool {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	return ses.holdsBack
}
