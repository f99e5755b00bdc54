package queue

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// Assign gives a queued job to a session. ErrNotFound when job or session is not
// there, ErrStale when the job is not queued or the attempt is not its next.
func (tx *Tx) Assign(at time.Time, m *queuepb.Assign) error {
	if tx.err != nil {
		return tx.err
	}
	old, err := tx.assigned(m.JobId, m.Attempt-1, "")
	if err != nil {
		return err
	}
	s := tx.session(m.SessionId)
	if s == nil {
		return fmt.Errorf("%w: session %s", ErrNotFound, m.SessionId)
	}
	j := old.change()
	assign(j.Job, s, instant(at.UnixNano()))
	tx.update(tx.s.w.assign, int64(j.Attempt), j.SessionID, j.BotID, nanos(j.StartedAt), j.seq)
	tx.put(j)
	tx.emit(Event{Kind: JobAssigned, Job: j.Job})
	return tx.err
}

// assign begins the job's next attempt.
func assign(j *Job, s *Session, at time.Time) {
	j.Stage = Executing
	j.Attempt++
	j.SessionID, j.BotID = s.ID, s.BotID
	j.StartedAt = at
}

// Requeue puts an assigned job back to the front of its priority. ErrStale
// unless attempt and session match.
func (tx *Tx) Requeue(_ time.Time, m *queuepb.Requeue) error {
	if tx.err != nil {
		return tx.err
	}
	j, err := tx.assigned(m.JobId, m.Attempt, m.SessionId)
	if err != nil {
		return err
	}
	if j.Stage != Executing {
		return fmt.Errorf("%w: job %s is queued", ErrStale, j.ID)
	}
	tx.requeue(j, m.Reason, m.Interrupted)
	return tx.err
}

// requeue ends an attempt without a result.
func (tx *Tx) requeue(old *liveJob, reason string, interrupted bool) {
	j := old.change()
	j.Stage, j.SessionID, j.Front = Queued, "", true
	if interrupted {
		j.Losses++
	} else {
		j.Failures++
	}
	j.History = remember(j.History, fmt.Sprintf("attempt %d on %s: %s", j.Attempt, j.BotID, reason))
	tx.update(tx.s.w.requeue, int64(j.Failures), int64(j.Losses), encodeStrings(j.History), j.seq)
	tx.put(j)
	tx.emit(Event{Kind: JobQueued, Job: j.Job})
}

// Bounds of a job's history.
const (
	maxHistoryLines = 32
	maxHistoryLine  = 512 // bytes
)

// remember returns the history with a line added; the oldest goes when there are
// too many.
func remember(history []string, line string) []string {
	line = strings.Join(strings.Fields(strings.ToValidUTF8(line, "\uFFFD")), " ")
	if len(line) > maxHistoryLine {
		cut := maxHistoryLine
		for !utf8.RuneStart(line[cut]) {
			cut--
		}
		line = line[:cut]
	}
	if len(history) >= maxHistoryLines {
		history = history[len(history)-maxHistoryLines+1:]
	}
	return append(slices.Clone(history), line)
}

// Complete ends a job, and asks for its result to be cached if it should be.
// ErrStale unless the job is assigned with this attempt to this session; with
// the session "", unless the job is queued and this is its attempt.
func (tx *Tx) Complete(at time.Time, m *queuepb.Complete) error {
	if tx.err != nil {
		return tx.err
	}
	response, err := responseOf(m)
	if err != nil {
		return err
	}
	write, cached, err := resultOf(m)
	if err != nil {
		return err
	}
	j, err := tx.assigned(m.JobId, m.Attempt, m.SessionId)
	if err != nil {
		return err
	}
	if cached && !j.DoNotCache {
		write.Instance, write.Action = j.Instance, j.Action
		tx.writes = append(tx.writes, write)
	}
	tx.complete(j, at, response)
	return tx.err
}

// complete ends a job.
func (tx *Tx) complete(old *liveJob, at time.Time, r response) {
	j := old.change()
	j.Stage, j.SessionID = Completed, ""
	j.CompletedAt = instant(at.UnixNano())
	j.Response, j.ResponseBlob = r.inline, r.blob
	tx.update(tx.s.w.complete, nanos(j.CompletedAt), digestText(r.blob), blob(r.inline), j.seq)
	tx.put(j)
	tx.emit(Event{Kind: JobCompleted, Job: j.Job})
}
