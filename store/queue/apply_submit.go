package queue

import (
	"fmt"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// Submit makes a new job with its first operation. ErrExists when one of the ids
// is taken. When the session that it names has gone meanwhile, the job is queued.
func (tx *Tx) Submit(at time.Time, m *queuepb.Submit) error {
	if tx.err != nil {
		return tx.err
	}
	action, err := DigestFromProto(m.GetAction())
	if err != nil {
		return err
	}
	if err := checkIDs(m.JobId, m.GetOperation().GetId()); err != nil {
		return err
	}
	if m.TimeoutNanos < 0 {
		return fmt.Errorf("%w: timeout %d is negative", ErrMalformed, m.TimeoutNanos)
	}
	job := &Job{
		ID: m.JobId, Instance: m.Instance, Action: action, Command: text(m.Command), Priority: m.Priority,
		Matched: propertiesFromProto(m.Matched), Carried: propertiesFromProto(m.Carried),
		Timeout: time.Duration(m.TimeoutNanos), DoNotCache: m.DoNotCache,
		Stage: Queued, QueuedAt: instant(at.UnixNano()),
	}
	op := newOperation(m.Operation, job)
	j := &liveJob{Job: job, seq: tx.nextSeq, ops: []*Operation{op}}
	events := [2]Event{{Kind: JobQueued, Job: job, Operation: op}}
	n := 1
	if s := tx.session(m.SessionId); s != nil {
		j = j.change()
		assign(j.Job, s, job.QueuedAt)
		events[1], n = Event{Kind: JobAssigned, Job: j.Job}, 2
	}
	if err := tx.insert(j, op); err != nil {
		return err
	}
	tx.nextSeq++
	tx.emit(events[:n]...)
	return nil
}

// insert writes a new job with its operation.
func (tx *Tx) insert(j *liveJob, o *Operation) error {
	if err := tx.insertOperation(j, o); err != nil {
		return err
	}
	n := tx.exec(tx.s.w.insertJob, j.seq, j.ID, j.Instance, j.Action.String(), j.Command, int64(j.Priority),
		encodeProperties(j.Matched), encodeProperties(j.Carried), int64(j.Timeout), flag(j.DoNotCache),
		int64(j.Stage), int64(j.Attempt), int64(0), int64(0), "[]", j.SessionID, j.BotID, int64(0),
		nanos(j.QueuedAt), nanos(j.StartedAt), int64(0), "", []byte{})
	if tx.err != nil {
		return tx.err
	}
	if n == 0 {
		tx.update(tx.s.w.deleteOperation, o.ID)
		return tx.or(fmt.Errorf("%w: job %s", ErrExists, j.ID))
	}
	tx.put(j)
	tx.ops[o.ID] = o
	return nil
}

// insertOperation writes a new operation.
func (tx *Tx) insertOperation(j *liveJob, o *Operation) error {
	m := metadataOf(o)
	n := tx.exec(tx.s.w.insertOperation, j.seq, o.ID, o.Client, nanos(o.CreatedAt), int64(0),
		m.ToolInvocationId, m.CorrelatedInvocationsId, m.GetToolDetails().GetToolName(), m.GetToolDetails().GetToolVersion(),
		m.ActionMnemonic, m.TargetId, m.ConfigurationId, blob(o.RequestMetadata), []byte{})
	if tx.err == nil && n == 0 {
		return fmt.Errorf("%w: operation %s", ErrExists, o.ID)
	}
	return tx.err
}

// metadataOf returns the request metadata of an operation as its columns have it:
// what cannot be read is kept as it came, found by none of its fields.
func metadataOf(o *Operation) *repb.RequestMetadata {
	m := new(repb.RequestMetadata)
	if proto.Unmarshal(o.RequestMetadata, m) != nil {
		m.Reset()
	}
	return m
}

// Attach adds an operation to a job that is not completed, and lowers the job's
// priority number if this one's is lower. ErrNotFound, ErrCompleted, ErrExists.
func (tx *Tx) Attach(at time.Time, m *queuepb.Attach) error {
	if tx.err != nil {
		return tx.err
	}
	if err := checkIDs(m.GetOperation().GetId(), m.GetOperation().GetJobId()); err != nil {
		return err
	}
	old, err := tx.job(m.Operation.JobId)
	if err != nil {
		return err
	}
	j := old.change()
	op := newOperation(m.Operation, j.Job)
	op.CreatedAt = instant(at.UnixNano())
	if err := tx.insertOperation(j, op); err != nil {
		return err
	}
	j.ops = j.withOperation(op)
	raised := m.Priority < j.Priority
	if raised {
		j.Priority = m.Priority
		tx.update(tx.s.w.prioritise, int64(j.Priority), j.seq)
	}
	tx.put(j)
	tx.ops[op.ID] = op
	tx.emit(Event{Kind: OperationAttached, Operation: op, Job: j.Job})
	if raised {
		tx.emit(Event{Kind: JobPriority, Job: j.Job})
	}
	return tx.err
}

// newOperation returns an operation made at the time its job was queued.
func newOperation(m *queuepb.Operation, j *Job) *Operation {
	return &Operation{
		ID: m.Id, JobID: j.ID, Instance: j.Instance,
		RequestMetadata: noneIfEmpty(m.RequestMetadata), Client: text(m.Client), CreatedAt: j.QueuedAt,
	}
}
