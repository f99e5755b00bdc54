package queue

import (
	"fmt"
	"slices"
	"time"

	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// OpenSession begins a bot session. ErrExists when the id is taken.
func (tx *Tx) OpenSession(at time.Time, m *queuepb.OpenSession) error {
	if tx.err != nil {
		return tx.err
	}
	if err := checkIDs(m.SessionId); err != nil {
		return err
	}
	if m.Capacity < 0 {
		return fmt.Errorf("%w: capacity %d is negative", ErrMalformed, m.Capacity)
	}
	if tx.session(m.SessionId) != nil {
		return fmt.Errorf("%w: session %s", ErrExists, m.SessionId)
	}
	s := &Session{
		ID: m.SessionId, Instance: m.Instance, BotID: m.BotId, Properties: propertiesFromProto(m.Properties),
		Capacity: m.Capacity, Local: m.Local, NodeID: m.NodeId, Draining: m.Draining, OpenedAt: instant(at.UnixNano()),
	}
	tx.update(tx.s.w.insertSession, s.ID, s.Instance, s.BotID, encodeProperties(s.Properties),
		int64(s.Capacity), flag(s.Local), s.NodeID, flag(s.Draining), nanos(s.OpenedAt))
	tx.sessions[s.ID] = s
	tx.emit(Event{Kind: SessionOpened, Session: s})
	return tx.err
}

// UpdateSession drains a session, or ends that. ErrNotFound when it is not open.
func (tx *Tx) UpdateSession(_ time.Time, m *queuepb.UpdateSession) error {
	if tx.err != nil {
		return tx.err
	}
	old := tx.session(m.SessionId)
	if old == nil {
		return fmt.Errorf("%w: session %s", ErrNotFound, m.SessionId)
	}
	if old.Draining == m.Draining {
		return nil
	}
	s := *old
	s.Draining = m.Draining
	tx.update(tx.s.w.updateSession, flag(s.Draining), s.ID)
	tx.sessions[s.ID] = &s
	tx.emit(Event{Kind: SessionUpdated, Session: &s})
	return tx.err
}

// CloseSession ends a session. Its jobs are requeued, except those in m.Keep,
// which go on under m.KeepSession. ErrNotFound when either session is not open.
func (tx *Tx) CloseSession(_ time.Time, m *queuepb.CloseSession) error {
	if tx.err != nil {
		return tx.err
	}
	s := tx.session(m.SessionId)
	if s == nil {
		return fmt.Errorf("%w: session %s", ErrNotFound, m.SessionId)
	}
	var heir *Session
	if len(m.Keep) > 0 {
		if heir = tx.session(m.KeepSession); heir == nil {
			return fmt.Errorf("%w: session %s, which is to keep jobs", ErrNotFound, m.KeepSession)
		}
		if heir.ID == s.ID {
			return fmt.Errorf("%w: session %s cannot keep its own jobs when it closes", ErrMalformed, s.ID)
		}
	}
	tx.emit(Event{Kind: SessionClosed, Session: s})
	for _, j := range tx.heldBy(s.ID) {
		if slices.Contains(m.Keep, j.ID) {
			tx.move(j, heir)
		} else {
			tx.requeue(j, m.Reason, m.Interrupted)
		}
	}
	tx.update(tx.s.w.deleteSession, s.ID)
	tx.sessions[s.ID] = nil
	return tx.err
}

// heldBy returns the jobs that a session has, in the order of their queueing.
func (tx *Tx) heldBy(session string) []*liveJob {
	var jobs []*liveJob
	for _, j := range tx.jobs {
		if j.SessionID == session {
			jobs = append(jobs, j)
		}
	}
	for id := range tx.s.live.held[session] {
		if _, changed := tx.jobs[id]; !changed {
			jobs = append(jobs, tx.s.live.jobs[id])
		}
	}
	sortBySeq(jobs)
	return jobs
}

// move gives a job with its attempt to another session of its worker.
func (tx *Tx) move(old *liveJob, to *Session) {
	j := old.change()
	j.SessionID, j.BotID = to.ID, to.BotID
	tx.update(tx.s.w.move, j.SessionID, j.BotID, j.seq)
	tx.put(j)
	tx.emit(Event{Kind: JobMoved, Job: j.Job})
}
