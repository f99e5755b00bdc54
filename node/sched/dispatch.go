package sched

import (
	"time"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/queue"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// maxBatch bounds the entries that one dispatch command carries.
const maxBatch = 128

// hold is a slot of a session that is promised to a job until the command that
// says so is committed or refused.
type hold struct {
	jobID   string
	session *Session
	share   share
}

// errand is an entry that waits to be proposed on a job's behalf.
type errand struct {
	entry *commandpb.Entry
	job   *job
	hold  *hold // nil: the job is given up
}

// mayDispatch tells whether slots may be given away.
func (s *Scheduler) mayDispatch() bool {
	return s.started && !s.draining && !s.stopped && s.stall == nil
}

// hold promises a slot. The job must not be waiting.
func (s *Scheduler) hold(ses *Session, jobID string, need Resources) *hold {
	s.seq++
	h := &hold{jobID: jobID, session: ses, share: share{need, s.seq}}
	s.holds[jobID] = h
	ses.reserved++
	ses.occupy(h.share)
	ses.given = s.seq
	return h
}

// release ends a promise; true when it stood until now.
func (s *Scheduler) release(h *hold) bool {
	if h == nil || s.holds[h.jobID] != h {
		return false
	}
	delete(s.holds, h.jobID)
	h.session.reserved--
	h.session.vacate(h.share)
	return true
}

// place puts a queued job into its class's queue, and gives a slot that it
// could have to whoever is first for it.
//
// Together with feed it keeps the rule of dispatch: when mu is free, no session
// has a free slot while a job waits that it could take: that it matches and
// admits.
func (s *Scheduler) place(j *job) {
	if s.hopeless(j.row) {
		s.giveUp(j)
		return
	}
	j.placed = time.Now()
	s.enqueue(j)
	s.touch(j.class)
	for j.waiting() && s.mayDispatch() {
		ses := j.class.idle()
		if ses == nil {
			break
		}
		s.feed(ses) // it may be kept free for another from now on
	}
	if len(j.class.sessions) == 0 {
		s.armGrace()
	}
}

// feed gives a session's free slots to the jobs that wait for them. No session
// is fine.
func (s *Scheduler) feed(ses *Session) {
	for ses != nil && s.mayDispatch() && !ses.closed && ses.free() > 0 {
		j := s.next(ses)
		if j == nil {
			return
		}
		s.takeOut(j)
		s.assign(ses, j)
	}
}

// takeOut removes the job from its queue for dispatch, on its account.
func (s *Scheduler) takeOut(j *job) {
	if j.lane != nil {
		s.ledger.charge(j.lane.account, len(j.lane.level.lanes))
	}
	s.unqueue(j)
	s.unkeep(j.class)
	s.touch(j.class)
}

// assign promises a free slot to a job that is not waiting, and has it proposed.
func (s *Scheduler) assign(ses *Session, j *job) {
	h := s.hold(ses, j.row.ID, j.class.need)
	s.outbox = append(s.outbox, errand{entry: assignEntry(j.row, ses), job: j, hold: h})
}

func assignEntry(row *queue.Job, ses *Session) *commandpb.Entry {
	return &commandpb.Entry{Entry: &commandpb.Entry_Assign{Assign: &queuepb.Assign{
		JobId: row.ID, Attempt: row.Attempt + 1, SessionId: ses.row.ID,
	}}}
}

// send proposes a batch of errands and settles each.
func (s *Scheduler) send(batch []errand) {
	for len(batch) > 0 {
		part := batch[:min(maxBatch, len(batch))]
		batch = batch[len(part):]
		entries := make([]*commandpb.Entry, len(part))
		for i, e := range part {
			entries[i] = e.entry
		}
		errs, err := s.propose(s.ctx, entries...)
		s.mu.Lock()
		if err != nil {
			s.pause(err)
		}
		for i, e := range part {
			if err == nil {
				s.settle(e, errs[i])
			} else {
				s.settle(e, nil)
			}
		}
		s.unlock()
	}
}

// settle ends an errand after its command was applied or failed. What was
// committed is in the mirror already, by Observe; what remains is a promise
// that came to nothing.
func (s *Scheduler) settle(e errand, refused error) {
	if s.jobs[e.job.row.ID] != e.job {
		s.settleHold(e.hold)
		return
	}
	if e.hold == nil { // still there, although it was given up
		s.mistrust(e, refused)
		s.place(e.job)
		return
	}
	if s.holds[e.hold.jobID] != e.hold {
		return
	}
	if refused != nil && !e.hold.session.closed {
		s.mistrust(e, refused)
	}
	s.settleHold(e.hold)
}

// mistrust pauses dispatch when the log refused what the mirror still believes
// in, so that a disagreement cannot become a busy loop.
func (s *Scheduler) mistrust(e errand, refused error) {
	if refused != nil && s.stall == nil {
		s.log.Error("the command log refused a dispatch", keyJob, e.job.row.ID, keyError, refused)
		s.pause(refused)
	}
}

// settleHold takes a promise back if it still stands, and puts both sides back
// to where they can meet others.
func (s *Scheduler) settleHold(h *hold) {
	if !s.release(h) {
		return
	}
	if j := s.jobs[h.jobID]; j != nil && j.row.Stage == queue.Queued && !j.waiting() {
		s.place(j)
	}
	s.feed(h.session)
	h.session.wakeIfOver()
}

// pause stops dispatch for a while: the log takes no commands. Completions and
// submissions say so to their callers; only dispatch has nobody to tell.
func (s *Scheduler) pause(why error) {
	if s.stall != nil || s.stopped {
		return
	}
	s.stall = why
	s.staleAll()
	s.log.Warn("dispatch pauses: the command log does not take commands", keyError, why)
	s.after(s.o.RetryDelay, s.resume)
}

// resume tries again. Called with mu held.
func (s *Scheduler) resume() {
	s.stall = nil
	s.staleAll()
	parked := s.parked
	s.parked = nil
	for _, j := range parked {
		if s.jobs[j.row.ID] == j {
			s.place(j)
		}
	}
	for _, ses := range s.sessions {
		s.feed(ses)
	}
}

// after runs f with mu held once d has passed, unless the scheduler stops first.
func (s *Scheduler) after(d time.Duration, f func()) *time.Timer {
	return time.AfterFunc(d, func() {
		s.mu.Lock()
		if !s.stopped {
			f()
		}
		s.unlock()
	})
}
