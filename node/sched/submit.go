package sched

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// Join attaches a new operation to an identical action in flight and returns its
// name. joined is false when there is none, or it may not be shared. A lower
// priority number raises the job.
func (s *Scheduler) Join(ctx context.Context, sub Submission) (name string, joined bool, err error) {
	if sub.DoNotCache {
		return "", false, nil
	}
	key := mergeKey{sub.Instance, sub.Action}
	for {
		s.mu.Lock()
		j, turn := s.inflight[key], s.submitting[key]
		s.mu.Unlock()
		switch {
		case j != nil:
			return s.attach(ctx, j, sub)
		case turn == nil:
			return "", false, nil
		}
		if err := wait(ctx, turn); err != nil {
			return "", false, err
		}
	}
}

// Submit queues an action and returns the name of its operation once that is
// durable. When a worker has a slot for it, the same commit assigns it. It joins
// an identical action that appeared meanwhile. ErrDraining: no new work.
func (s *Scheduler) Submit(ctx context.Context, sub Submission) (name string, err error) {
	key := mergeKey{sub.Instance, sub.Action}
	for {
		s.mu.Lock()
		var j *job
		var turn chan struct{}
		if !sub.DoNotCache {
			j, turn = s.inflight[key], s.submitting[key]
		}
		if j == nil && turn == nil {
			return s.submitNew(ctx, sub, key)
		}
		s.mu.Unlock()
		if j != nil {
			if name, joined, err := s.attach(ctx, j, sub); joined || err != nil {
				return name, err
			}
		} else if err := wait(ctx, turn); err != nil {
			return "", err
		}
	}
}

// submitNew proposes a new job. It is called with mu held and releases it.
func (s *Scheduler) submitNew(ctx context.Context, sub Submission, key mergeKey) (string, error) {
	if s.draining || s.stopped || !s.started {
		s.mu.Unlock()
		return "", ErrDraining
	}
	if !sub.DoNotCache {
		s.submitting[key] = make(chan struct{})
	}
	jobID, opID := uuid.NewString(), sub.operationID()
	var h *hold
	if s.mayDispatch() {
		c := s.classFor(sub.Instance, sub.Matched, sub.Carried)
		if ses := c.idle(); ses != nil && !s.tight(ses) {
			h = s.hold(ses, jobID, c.need)
		}
	}
	s.mu.Unlock()

	refused, err := s.proposeSubmit(ctx, sub, jobID, opID, h)
	if err == nil && refused != nil && h != nil {
		s.endSubmit(nil, h) // its session was closed meanwhile
		h = nil
		refused, err = s.proposeSubmit(ctx, sub, jobID, opID, nil)
	}
	s.endSubmit(&key, h)
	if err == nil && !sub.repeats(refused) {
		err = refused
	}
	if err != nil {
		return "", fmt.Errorf("submit action %s: %w", sub.Action, err)
	}
	return operationName(sub.Instance, opID), nil
}

func (s *Scheduler) proposeSubmit(ctx context.Context, sub Submission, jobID, opID string, h *hold) (refused, err error) {
	m := &queuepb.Submit{
		JobId: jobID, Instance: sub.Instance, Action: digestPB(sub.Action), Command: sub.Command, Priority: sub.Priority,
		Matched: propertiesPB(sub.Matched), Carried: propertiesPB(sub.Carried),
		TimeoutNanos: int64(sub.Timeout), DoNotCache: sub.DoNotCache,
		Operation: operationPB(opID, jobID, sub),
	}
	if h != nil {
		m.SessionId = h.session.row.ID
	}
	return s.proposeOne(ctx, &commandpb.Entry{Entry: &commandpb.Entry_Submit{Submit: m}})
}

// endSubmit lets the next identical submission go on, and settles the promise.
func (s *Scheduler) endSubmit(key *mergeKey, h *hold) {
	s.mu.Lock()
	defer s.unlock()
	if key != nil {
		s.submitting.land(*key)
	}
	if h != nil {
		s.settleHold(h)
	}
}

// attach adds an operation to a job; false when the job is completed by now.
func (s *Scheduler) attach(ctx context.Context, j *job, sub Submission) (string, bool, error) {
	s.mu.Lock()
	jobID := j.row.ID
	s.mu.Unlock()
	opID := sub.operationID()
	refused, err := s.proposeOne(ctx, &commandpb.Entry{Entry: &commandpb.Entry_Attach{Attach: &queuepb.Attach{
		Operation: operationPB(opID, jobID, sub), Priority: sub.Priority,
	}}})
	switch {
	case err != nil:
		return "", false, fmt.Errorf("attach to job %s: %w", jobID, err)
	case refused == nil, sub.repeats(refused):
		return operationName(sub.Instance, opID), true, nil
	case errors.Is(refused, queue.ErrCompleted), errors.Is(refused, queue.ErrNotFound):
		s.mu.Lock()
		if s.inflight[j.mergeKey()] == j { // the log knows better
			delete(s.inflight, j.mergeKey())
		}
		s.mu.Unlock()
		return "", false, nil
	}
	return "", false, fmt.Errorf("attach to job %s: %w", jobID, refused)
}

// operationID returns the id for the operation.
func (sub *Submission) operationID() string {
	if sub.OperationID != "" {
		return sub.OperationID
	}
	return uuid.NewString()
}

// repeats tells whether a refusal says that the same was submitted before.
func (sub *Submission) repeats(refused error) bool {
	return sub.OperationID != "" && errors.Is(refused, queue.ErrExists)
}

func wait(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func operationPB(id, jobID string, sub Submission) *queuepb.Operation {
	return &queuepb.Operation{Id: id, JobId: jobID, RequestMetadata: metadataBytes(sub), Client: sub.Client}
}

// metadataBytes returns nil for metadata that cannot be encoded (a string that
// is not UTF-8): it is for people only.
func metadataBytes(sub Submission) []byte {
	if sub.RequestMetadata == nil {
		return nil
	}
	b, err := proto.Marshal(sub.RequestMetadata)
	if err != nil {
		return nil
	}
	return b
}

func digestPB(d digest.Digest) *queuepb.Digest {
	return &queuepb.Digest{Function: uint32(d.Function), Hash: d.Hash[:], Size: d.Size}
}

func operationName(instance, id string) string { return instance + "/" + id }
