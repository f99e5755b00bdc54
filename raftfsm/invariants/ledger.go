package invariants

import (
	"bytes"
	"fmt"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

// Ledger follows jobs, operations and sessions through the events of the log, by
// rules of its own: it knows nothing of how the queue decides.
type Ledger struct {
	// Completed has each job that was completed, with the index at which.
	Completed map[string]Completion

	limits   Limits
	jobs     map[string]*queue.Job // as the last event has them, completed ones too
	ops      map[string]*queue.Operation
	sessions map[string]bool // open or not
	broken   []error
	index    uint64
}

// Completion is how a job ended.
type Completion struct {
	Index uint64 // of the group
	Job   *queue.Job
}

func newLedger(limits Limits) *Ledger {
	return &Ledger{
		Completed: map[string]Completion{}, limits: limits,
		jobs: map[string]*queue.Job{}, ops: map[string]*queue.Operation{}, sessions: map[string]bool{},
	}
}

func (l *Ledger) fail(format string, args ...any) {
	if len(l.broken) < 20 {
		l.broken = append(l.broken, fmt.Errorf("%w: index %d: "+format, append([]any{ErrBroken, l.index}, args...)...))
	}
}

// group takes over the events of one group.
func (l *Ledger) group(index uint64, events []queue.Event) {
	l.index = index
	touched := map[string]bool{}
	for _, e := range events {
		l.event(e)
		if e.Job != nil {
			touched[e.Job.ID] = true
		}
		if e.Kind == queue.SessionClosed { // its jobs must have gone to others
			for id, j := range l.jobs {
				if j.SessionID == e.Session.ID {
					touched[id] = true
				}
			}
		}
	}
	for id := range touched {
		l.settled(l.jobs[id])
	}
}

// settled holds for a job between groups.
func (l *Ledger) settled(j *queue.Job) {
	switch {
	case j == nil:
	case (j.Stage == queue.Executing) != (j.SessionID != ""):
		l.fail("job %s is in stage %d with session %q", j.ID, j.Stage, j.SessionID)
	case j.Stage == queue.Executing && !l.sessions[j.SessionID]:
		l.fail("job %s has a lease of session %s, which is not open", j.ID, j.SessionID)
	}
}

func (l *Ledger) event(e queue.Event) {
	switch e.Kind {
	case queue.JobQueued, queue.JobAssigned, queue.JobMoved, queue.JobPriority, queue.JobCompleted:
		l.job(e)
	case queue.OperationAttached, queue.OperationCancelled, queue.OperationDeleted:
		l.operation(e)
	case queue.SessionOpened, queue.SessionClosed, queue.SessionUpdated:
		l.session(e)
	default:
		l.fail("an event of kind %d", e.Kind)
	}
}

func (l *Ledger) job(e queue.Event) {
	j, old := e.Job, l.jobs[e.Job.ID]
	l.jobs[j.ID] = j
	if old == nil {
		l.newJob(e)
		return
	}
	if old.Stage == queue.Completed {
		l.fail("job %s changed after it was completed at %d", j.ID, l.Completed[j.ID].Index)
	}
	if j.Action != old.Action || j.Instance != old.Instance {
		l.fail("job %s became another action", j.ID)
	}
	if l.limits.Failures > 0 && j.Failures > l.limits.Failures || l.limits.Losses > 0 && j.Losses > l.limits.Losses {
		l.fail("job %s failed %d times and was interrupted %d times", j.ID, j.Failures, j.Losses)
	}
	switch e.Kind {
	case queue.JobQueued:
		if old.Stage != queue.Executing || j.Stage != queue.Queued || j.Attempt != old.Attempt || j.Failures+j.Losses != old.Failures+old.Losses+1 {
			l.fail("job %s was queued again: stage %d, attempt %d after stage %d, attempt %d", j.ID, j.Stage, j.Attempt, old.Stage, old.Attempt)
		}
	case queue.JobAssigned:
		if old.Stage != queue.Queued || j.Stage != queue.Executing || j.Attempt != old.Attempt+1 {
			l.fail("job %s was assigned: attempt %d after stage %d, attempt %d", j.ID, j.Attempt, old.Stage, old.Attempt)
		}
	case queue.JobMoved:
		if old.Stage != queue.Executing || j.Stage != queue.Executing || j.Attempt != old.Attempt || j.BotID != old.BotID {
			l.fail("job %s moved from attempt %d of %s to attempt %d of %s", j.ID, old.Attempt, old.BotID, j.Attempt, j.BotID)
		}
	case queue.JobPriority:
		if j.Priority >= old.Priority || j.Stage != old.Stage || j.Attempt != old.Attempt {
			l.fail("job %s got priority %d after %d", j.ID, j.Priority, old.Priority)
		}
	case queue.JobCompleted:
		l.completed(j, old)
	}
}

func (l *Ledger) newJob(e queue.Event) {
	j, o := e.Job, e.Operation
	if e.Kind != queue.JobQueued || o == nil || o.JobID != j.ID || j.Stage != queue.Queued || j.Attempt != 0 {
		l.fail("job %s appeared by an event of kind %d in stage %d, attempt %d", j.ID, e.Kind, j.Stage, j.Attempt)
		return
	}
	l.newOperation(o)
}

// completed: once, of the attempt that was current.
func (l *Ledger) completed(j, old *queue.Job) {
	if c, twice := l.Completed[j.ID]; twice {
		l.fail("job %s was completed at %d and again", j.ID, c.Index)
		if !bytes.Equal(c.Job.Response, j.Response) || c.Job.ResponseBlob != j.ResponseBlob {
			l.fail("job %s has another result now", j.ID)
		}
		return
	}
	if j.Attempt != old.Attempt {
		l.fail("job %s was completed in attempt %d, its last was %d", j.ID, j.Attempt, old.Attempt)
	}
	l.Completed[j.ID] = Completion{l.index, j}
}

func (l *Ledger) newOperation(o *queue.Operation) {
	if l.ops[o.ID] != nil {
		l.fail("operation %s was made twice", o.ID)
	}
	l.ops[o.ID] = o
}

func (l *Ledger) operation(e queue.Event) {
	o, old := e.Operation, l.ops[e.Operation.ID]
	if e.Kind == queue.OperationAttached {
		l.newOperation(o)
		if j := l.jobs[o.JobID]; j == nil || j.Stage == queue.Completed {
			l.fail("operation %s was attached to job %s, which does not run", o.ID, o.JobID)
		}
		return
	}
	switch {
	case old == nil:
		l.fail("operation %s ended, it never was", o.ID)
	case e.Kind == queue.OperationCancelled && old.Cancelled:
		l.fail("operation %s was cancelled twice", o.ID)
	case e.Kind == queue.OperationDeleted && !old.Cancelled && l.jobs[old.JobID].Stage != queue.Completed:
		l.fail("operation %s was deleted while it was active", o.ID)
	}
	if e.Kind == queue.OperationCancelled {
		l.ops[o.ID] = o
	}
}

func (l *Ledger) session(e queue.Event) {
	open, known := l.sessions[e.Session.ID]
	switch e.Kind {
	case queue.SessionOpened:
		if known {
			l.fail("session %s was opened twice", e.Session.ID)
		}
		l.sessions[e.Session.ID] = true
	case queue.SessionClosed:
		if !open {
			l.fail("session %s was closed, it was not open", e.Session.ID)
		}
		l.sessions[e.Session.ID] = false
	case queue.SessionUpdated:
		if !open {
			l.fail("session %s was changed, it is not open", e.Session.ID)
		}
	}
}
