package queue

import (
	"errors"
	"fmt"
	"time"

	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// CancelOperation ends one operation; when its job has no other that is not
// cancelled, the job is completed with the response given. An operation that is
// cancelled already stays as it is (nil). ErrNotFound, ErrCompleted.
func (tx *Tx) CancelOperation(at time.Time, m *queuepb.CancelOperation) error {
	if tx.err != nil {
		return tx.err
	}
	old, oldJob, err := tx.operation(m.OperationId)
	if err != nil {
		return err
	}
	if old.Cancelled {
		return nil
	}
	o := *old
	o.Cancelled = true
	j := oldJob.change()
	last := true
	for _, other := range j.ops {
		last = last && (other.Cancelled || other.ID == o.ID)
	}
	if !last {
		o.Response = noneIfEmpty(m.ExecuteResponse)
	}
	j.ops = j.withOperation(&o)
	tx.update(tx.s.w.cancelOperation, blob(o.Response), j.seq, o.ID)
	tx.put(j)
	tx.ops[o.ID] = &o
	tx.emit(Event{Kind: OperationCancelled, Operation: &o, Job: j.Job})
	if last {
		tx.complete(j, at, response{inline: noneIfEmpty(m.ExecuteResponse)})
	}
	return tx.err
}

// DeleteOperation forgets an operation that is done: cancelled, or its job
// completed. ErrNotFound, ErrActive.
func (tx *Tx) DeleteOperation(_ time.Time, m *queuepb.DeleteOperation) error {
	if tx.err != nil {
		return tx.err
	}
	o, j, err := tx.operation(m.OperationId)
	switch {
	case errors.Is(err, ErrCompleted):
		o = &Operation{ID: m.OperationId}
	case err != nil:
		return err
	case !o.Cancelled:
		return fmt.Errorf("%w: operation %s", ErrActive, o.ID)
	default:
		j = j.change()
		j.ops = j.withoutOperation(o.ID)
		tx.put(j)
	}
	tx.update(tx.s.w.deleteOperation, o.ID)
	tx.ops[o.ID] = nil
	tx.emit(Event{Kind: OperationDeleted, Operation: o})
	return tx.err
}

// maxPrune bounds one Prune, so that one command takes milliseconds.
const maxPrune = 100_000

// Prune forgets jobs that were completed before m.BeforeNanos, at most m.Limit
// of them, the oldest first, with their operations. It makes no events.
func (tx *Tx) Prune(_ time.Time, m *queuepb.Prune) error {
	if tx.err != nil {
		return tx.err
	}
	if m.Limit <= 0 || m.Limit > maxPrune {
		return fmt.Errorf("%w: prune limit %d is not in 1 to %d", ErrMalformed, m.Limit, maxPrune)
	}
	if tx.exec(tx.s.w.pruneOperations, m.BeforeNanos, int64(m.Limit)); tx.err == nil {
		tx.exec(tx.s.w.pruneJobs, m.BeforeNanos, int64(m.Limit))
	}
	return tx.err
}
