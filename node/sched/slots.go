package sched

import (
	"time"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

// The methods here need the scheduler's mu.

func (ses *Session) capacity() int { return int(ses.shown.Capacity) }

// free counts the slots that may be promised: none while the session takes no
// work. It is negative for a moment while the bot reports the end of a lease
// whose successor is promised already.
func (ses *Session) free() int {
	n := ses.capacity() - len(ses.leases) - ses.reserved - len(ses.lingering)
	if !ses.accepts() {
		n = min(n, 0)
	}
	return n
}

// accepts tells whether the session may be given jobs.
func (ses *Session) accepts() bool {
	return !ses.closed && !ses.settling && !ses.away && ses.refusal() == ""
}

// refusal says why the worker takes no work; "" when it does.
func (ses *Session) refusal() string {
	if ses.drained {
		return "it is drained"
	}
	return ses.refuses
}

// present tells whether the bot is certain to live: it is in this process, or in
// a call.
func (ses *Session) present() bool { return ses.expiry == nil || ses.calls > 0 || ses.polls > 0 }

// matches tells whether the session can take the class's jobs.
func (ses *Session) matches(c *class) bool {
	return ses.row.Instance == c.instance && len(ses.lacks(c.props)) == 0 && Resources{}.fits(c.need, ses.has)
}

// lacks returns those of props that the session does not offer.
func (ses *Session) lacks(props []queue.Property) (out []queue.Property) {
	for _, p := range props {
		if _, ok := ses.offers[p]; !ok {
			out = append(out, p)
		}
	}
	return out
}

// onSessionOpened begins to mirror a session. It is given work when all events of
// its group are taken over: it may keep jobs of the session before it.
func (s *Scheduler) onSessionOpened(row *queue.Session) {
	ses := s.addSession(row)
	ses.settling = true
	s.settling = append(s.settling, ses)
	s.staleAll()
	s.log.Info("bot session opened", keyBot, row.BotID, keySession, row.ID, "capacity", row.Capacity, "local", row.Local)
}

// settled gives work to the sessions that were opened.
func (s *Scheduler) settled() {
	for _, ses := range s.settling {
		ses.settling = false
		s.feed(ses)
	}
	s.settling = nil
}

func (s *Scheduler) addSession(row *queue.Session) *Session {
	ses := newSession(s, row)
	key := botKey{row.Instance, row.BotID}
	s.sessions[row.ID] = ses
	s.bots[key] = ses
	e := s.entering[key]
	ses.drained, ses.refuses, ses.has = s.drained[key], e.refuses, e.has
	s.advertise(ses)
	if !row.Local || row.NodeID != s.o.NodeID {
		ses.expiry = s.after(s.o.SessionExpiry, func() { s.expire(ses) })
	}
	return ses
}

// onSessionClosed forgets a session. Its jobs are queued again by events of
// their own.
func (s *Scheduler) onSessionClosed(row *queue.Session) {
	ses := s.sessions[row.ID]
	if ses == nil {
		return
	}
	s.dropSession(ses)
	s.staleAll()
	s.log.Info("bot session closed", keyBot, row.BotID, keySession, row.ID)
}

func (s *Scheduler) dropSession(ses *Session) {
	ses.closed = true
	delete(s.sessions, ses.row.ID)
	if key := (botKey{ses.row.Instance, ses.row.BotID}); s.bots[key] == ses {
		delete(s.bots, key)
	}
	s.withdraw(ses)
	s.armGrace()
	for _, t := range ses.lingering {
		t.timer.Stop()
	}
	if ses.expiry != nil {
		ses.expiry.Stop()
	}
	signal(ses.wake)
}

// give puts a committed assignment into the session's hands.
func (ses *Session) give(j *job, room share) {
	l := &lease{session: ses, job: j, attempt: j.row.Attempt, share: room}
	ses.occupy(room)
	j.lease = l
	ses.leases[j.row.ID] = l
	x := ses.s.leaseOf(l)
	ses.push(Event{Assigned: &x})
}

// move puts a job with its attempt into the hands of the session that follows its
// own. The bot said that it has it, so there is nothing to tell.
func (s *Scheduler) move(j *job, to *Session) {
	if l := j.lease; l != nil {
		delete(l.session.leases, j.row.ID)
		l.session.vacate(l.share)
	}
	j.lease = &lease{session: to, job: j, attempt: j.row.Attempt, share: share{need: j.class.need}, taken: true}
	to.occupy(j.lease.share)
	to.leases[j.row.ID] = j.lease
}

func (s *Scheduler) leaseOf(l *lease) Lease {
	x := Lease{Job: l.job.row, Attempt: l.attempt, Timeout: l.job.row.Timeout}
	if x.Timeout == 0 {
		x.Timeout = s.o.MaxTimeout
	}
	return x
}

func (ses *Session) push(e Event) {
	ses.events = append(ses.events, e)
	signal(ses.wake)
}

// pop takes the next event for Next.
func (ses *Session) pop() (Event, bool) {
	if len(ses.events) == 0 {
		return Event{}, false
	}
	e := ses.events[0]
	ses.events[0] = Event{}
	ses.events = ses.events[1:]
	if len(ses.events) > 0 {
		signal(ses.wake) // another Next may wait
	}
	if e.Assigned != nil {
		if l := ses.leases[e.Assigned.Job.ID]; l != nil && l.attempt == e.Assigned.Attempt {
			l.taken = true
		}
	}
	return e, true
}

// forgetUntaken drops the assignment of a lease that has not left yet; false when
// it has.
func (ses *Session) forgetUntaken(l *lease) bool {
	if l.taken {
		return false
	}
	for i, e := range ses.events {
		if e.Assigned != nil && e.Assigned.Job.ID == l.job.row.ID && e.Assigned.Attempt == l.attempt {
			ses.events = append(ses.events[:i], ses.events[i+1:]...)
			break
		}
	}
	return true
}

// lingering is what a cancelled lease still has of its session.
type lingering struct {
	timer *time.Timer
	share share
}

// linger keeps the slot and room of a cancelled lease until the bot has ended it, or for
// the grace.
func (s *Scheduler) linger(ses *Session, jobID string, room share) {
	if ses.closed {
		return
	}
	if ses.lingering == nil {
		ses.lingering = map[string]lingering{}
	}
	if l, ok := ses.lingering[jobID]; ok {
		l.timer.Stop()
		ses.vacate(l.share)
	}
	ses.occupy(room)
	ses.lingering[jobID] = lingering{s.after(s.o.CancelGrace, func() { s.stopLingering(ses, jobID) }), room}
}

func (s *Scheduler) stopLingering(ses *Session, jobID string) {
	if l, ok := ses.lingering[jobID]; ok {
		l.timer.Stop()
		ses.vacate(l.share)
		delete(ses.lingering, jobID)
		s.feed(ses)
	}
}

// over tells whether no event can come any more.
func (ses *Session) over() bool {
	return ses.closed || (ses.s.draining && len(ses.leases) == 0 && ses.reserved == 0)
}

func (ses *Session) wakeIfOver() {
	if ses.over() {
		signal(ses.wake)
	}
}
