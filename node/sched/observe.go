package sched

import (
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// Observe takes over what was committed. It is a raftfsm.Observer: quick, and
// it never proposes by itself (that is left to a goroutine of its own). Before
// Start has loaded the stores it does nothing.
func (s *Scheduler) Observe(_ uint64, events []queue.Event) {
	s.mu.Lock()
	defer s.unlock()
	if !s.started || s.stopped {
		return
	}
	for _, e := range events {
		s.observe(e)
	}
	s.settled()
	if s.observed != nil {
		close(s.observed)
		s.observed = nil
	}
}

func (s *Scheduler) observe(e queue.Event) {
	switch e.Kind {
	case queue.JobQueued:
		s.onQueued(e)
	case queue.JobAssigned:
		s.onAssigned(e.Job)
	case queue.JobCompleted:
		s.onCompleted(e.Job)
	case queue.JobPriority:
		s.onPriority(e.Job)
	case queue.OperationAttached:
		s.onAttached(e)
	case queue.OperationCancelled:
		s.onOperationCancelled(e.Operation)
	case queue.SessionOpened:
		s.onSessionOpened(e.Session)
	case queue.SessionClosed:
		s.onSessionClosed(e.Session)
	case queue.JobMoved:
		s.onMoved(e.Job)
	case queue.OperationDeleted: // only finished ones, which are not mirrored
	}
}

// onQueued: a job is new, or back from an attempt that came to nothing.
func (s *Scheduler) onQueued(e queue.Event) {
	j := s.jobs[e.Job.ID]
	var ses *Session
	if j == nil {
		j = s.addJob(e.Job, e.Operation)
		s.total.Submitted++
	} else {
		s.total.Requeued++
		j.row = e.Job
		ses = s.endLease(j)
		if j.waiting() {
			s.unqueue(j)
		}
	}
	if s.holds[e.Job.ID] == nil { // else its assignment follows, or is settled
		s.place(j)
	}
	s.feed(ses)
	j.changed()
}

// onAssigned: the promise is kept, the lease may leave.
func (s *Scheduler) onAssigned(row *queue.Job) {
	j := s.jobs[row.ID]
	if j == nil {
		s.log.Error("assigned a job that is not known", keyJob, row.ID)
		return
	}
	room := share{need: j.class.need}
	if h := s.holds[row.ID]; h != nil {
		room = h.share
		s.release(h)
		defer s.feed(h.session)
	}
	if j.waiting() {
		s.unqueue(j)
		s.touch(j.class)
	}
	if ses := s.endLease(j); ses != nil {
		defer s.feed(ses)
	}
	j.row = row
	j.published = reason{}
	if ses := s.sessions[row.SessionID]; ses != nil {
		ses.give(j, room)
	} else {
		s.log.Error("assigned a job to a session that is not open", keyJob, row.ID, keySession, row.SessionID)
	}
	j.changed()
}

// onMoved: its worker opened a new session and still has it.
func (s *Scheduler) onMoved(row *queue.Job) {
	j, to := s.jobs[row.ID], s.sessions[row.SessionID]
	if j == nil || to == nil {
		s.log.Error("moved a job between what is not known", keyJob, row.ID, keySession, row.SessionID)
		return
	}
	j.row = row
	s.move(j, to)
	j.changed()
}

// onCompleted: by its bot, by cancellation, or because it was given up.
func (s *Scheduler) onCompleted(row *queue.Job) {
	j := s.jobs[row.ID]
	if j == nil {
		return
	}
	j.row = row
	if j.waiting() {
		s.unqueue(j)
		s.touch(j.class)
	}
	ses := s.endLease(j)
	s.dropJob(j)
	s.total.Completed++
	s.feed(ses)
}

func (s *Scheduler) onPriority(row *queue.Job) {
	j := s.jobs[row.ID]
	if j == nil {
		return
	}
	j.row = row
	if j.waiting() {
		s.unqueue(j)
		s.place(j)
	}
}

func (s *Scheduler) onAttached(e queue.Event) {
	j := s.jobs[e.Job.ID]
	if j == nil {
		return
	}
	s.total.Merged++
	s.addOperation(j, e.Operation)
}

// onOperationCancelled: the operation is done when it has a response of its own;
// otherwise it was the last, and the job's completion follows.
func (s *Scheduler) onOperationCancelled(row *queue.Operation) {
	op := s.ops[row.ID]
	if op == nil {
		return
	}
	s.total.Cancelled++
	op.row = row
	if row.Response == nil {
		return
	}
	op.job.ops = without(op.job.ops, op)
	s.dropOperation(op, &outcome{bytes: row.Response})
}

// endLease takes the job from the session that has it, and returns that session,
// or nil: the caller feeds it once the job has found its place. The bot is told
// unless it said itself that it is done with the lease, or never heard of it; a
// lease that it was told to kill keeps its slot until it ended that, or the
// grace has passed.
func (s *Scheduler) endLease(j *job) *Session {
	l := j.lease
	if l == nil {
		return nil
	}
	j.lease = nil
	ses := l.session
	delete(ses.leases, j.row.ID)
	ses.vacate(l.share)
	if !l.completing && !ses.forgetUntaken(l) {
		ses.push(Event{Cancelled: j.row.ID})
		s.linger(ses, j.row.ID, l.share)
	}
	s.touch(j.class)
	ses.wakeIfOver()
	return ses
}
