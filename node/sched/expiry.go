package sched

import (
	"time"
)

// enter and leave frame each call of the bot: during one, and for the expiry
// after it, the session is alive.
func (ses *Session) enter() {
	ses.s.mu.Lock()
	ses.calls++
	if ses.away {
		ses.s.cameBack(ses)
	}
	ses.s.unlock()
}

func (ses *Session) leave() {
	ses.s.mu.Lock()
	ses.calls--
	ses.seen = time.Now()
	ses.s.mu.Unlock()
}

// cameBack: the bot of a session from before the node was started is there again.
func (s *Scheduler) cameBack(ses *Session) {
	ses.away = false
	s.log.Info("bot came back", keyBot, ses.row.BotID, keySession, ses.row.ID, "leases", len(ses.leases))
	for _, l := range ses.leases {
		l.job.changed()
	}
	for _, c := range ses.classes {
		s.touch(c)
	}
	s.feed(ses)
}

// expire closes a session that gave no sign of life for the expiry, or looks
// again when it may have. Called with mu held, by the session's timer.
func (s *Scheduler) expire(ses *Session) {
	if ses.closed {
		return
	}
	left := s.o.SessionExpiry
	if ses.calls == 0 {
		left -= time.Since(ses.seen)
	}
	if left <= 0 {
		s.log.Warn("bot went silent", keyBot, ses.row.BotID, keySession, ses.row.ID, "expiry", s.o.SessionExpiry)
		s.goLocked(func() { s.closeExpired(ses) })
		left = s.o.RetryDelay // unless it is closed by then
	}
	ses.expiry = s.after(left, func() { s.expire(ses) })
}

func (s *Scheduler) closeExpired(ses *Session) {
	reason := "worker " + ses.row.BotID + " was silent for " + s.o.SessionExpiry.String()
	if _, err := s.proposeOne(s.ctx, closeEntry(ses.row.ID, reason, false)); err != nil {
		s.log.Warn("close session of a silent bot", keySession, ses.row.ID, keyError, err)
	}
}
