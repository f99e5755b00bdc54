package sched

import (
	"context"
	"errors"
	"fmt"
	"strings"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/rpc/code"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/store/queue"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// splitName is the inverse of operationName: the id follows the last slash.
func splitName(name string) (instance, id string) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return "", name
	}
	return name[:i], name[i+1:]
}

// Get returns the current state of an operation, or ErrNotFound.
func (s *Scheduler) Get(ctx context.Context, name string) (*State, error) {
	instance, id := splitName(name)
	s.mu.Lock()
	if op := s.ops[id]; op != nil && op.row.Instance == instance {
		defer s.mu.Unlock()
		return s.stateLocked(op), nil
	}
	s.mu.Unlock()
	if a := s.finished.get(instance, id); a != nil {
		return a.state(), nil
	}
	op, row, err := s.stored(ctx, instance, id)
	if err != nil {
		return nil, err
	}
	return s.storedState(ctx, op, row)
}

// stateLocked describes a mirrored operation. Its Response is not filled in.
func (s *Scheduler) stateLocked(op *operation) *State {
	row := op.job.row
	st := &State{Name: operationName(op.row.Instance, op.row.ID), Operation: op.row, Job: row, Stage: row.Stage}
	switch {
	case op.done != nil:
		st.Done, st.Stage = true, queue.Completed
	default:
		st.WaitReason = s.reasonOf(op.job).String()
		st.StdoutStream, st.StderrStream = op.job.streamsOf()
	}
	if st.Stage != queue.Queued {
		st.Worker = row.BotID
	}
	return st
}

// doneState returns the state of an operation that is not mirrored, nil when it
// is not done yet, or ErrNotFound.
func (s *Scheduler) doneState(ctx context.Context, instance, id string) (*State, error) {
	if a := s.finished.get(instance, id); a != nil {
		return a.state(), nil
	}
	op, row, err := s.stored(ctx, instance, id)
	if err != nil || !(op.Cancelled || row.Stage == queue.Completed) {
		return nil, err
	}
	return s.storedState(ctx, op, row)
}

// stored reads an operation from the store.
func (s *Scheduler) stored(ctx context.Context, instance, id string) (*queue.Operation, *queue.Job, error) {
	op, row, err := s.o.Queue.Operation(ctx, id)
	switch {
	case errors.Is(err, queue.ErrNotFound):
		return nil, nil, ErrNotFound
	case err != nil:
		return nil, nil, fmt.Errorf("read operation %s: %w", id, err)
	case op.Instance != instance:
		return nil, nil, ErrNotFound
	}
	return op, row, nil
}

// storedState describes an operation as the store has it.
func (s *Scheduler) storedState(ctx context.Context, op *queue.Operation, row *queue.Job) (*State, error) {
	st := &State{Name: operationName(op.Instance, op.ID), Operation: op, Job: row, Stage: row.Stage}
	out := outcome{bytes: row.Response, blob: row.ResponseBlob}
	if op.Response != nil {
		out = outcome{bytes: op.Response}
	}
	if op.Cancelled || row.Stage == queue.Completed {
		st.Stage, st.Done = queue.Completed, true
		var err error
		if st.Response, err = out.response(ctx, s.o.Blobs); err != nil {
			return nil, fmt.Errorf("read response of operation %s: %w", st.Name, err)
		}
	}
	if st.Stage != queue.Queued {
		st.Worker = row.BotID
	}
	return st, nil
}

// Cancel ends one operation with the status CANCELLED; the job is killed when no
// other operation waits for it. One that is done stays as it is. ErrNotFound.
func (s *Scheduler) Cancel(ctx context.Context, name string) error {
	instance, id := splitName(name)
	s.mu.Lock()
	op := s.ops[id]
	s.mu.Unlock()
	if op == nil || op.row.Instance != instance {
		if s.finished.get(instance, id) != nil {
			return nil
		}
		if o, row, err := s.stored(ctx, instance, id); err != nil || o.Cancelled || row.Stage == queue.Completed {
			return err
		}
	}
	response, err := proto.Marshal(&repb.ExecuteResponse{
		Status: &statuspb.Status{Code: int32(code.Code_CANCELLED), Message: "Execution cancelled"},
	})
	if err != nil {
		return fmt.Errorf("cancel operation %s: %w", name, err)
	}
	refused, err := s.proposeOne(ctx, raftfsm.CancelOperation(&queuepb.CancelOperation{OperationId: id, ExecuteResponse: response}))
	switch {
	case err != nil:
		return fmt.Errorf("cancel operation %s: %w", name, err)
	case refused == nil, errors.Is(refused, queue.ErrCompleted):
		return nil
	case errors.Is(refused, queue.ErrNotFound):
		return ErrNotFound
	}
	return fmt.Errorf("cancel operation %s: %w", name, refused)
}

// Delete forgets an operation that is done. ErrNotFound, ErrNotDone.
func (s *Scheduler) Delete(ctx context.Context, name string) error {
	instance, id := splitName(name)
	if a := s.finished.get(instance, id); a != nil {
		s.finished.remove(a)
		return nil
	}
	if _, _, err := s.stored(ctx, instance, id); err != nil {
		return err
	}
	refused, err := s.proposeOne(ctx, raftfsm.DeleteOperation(&queuepb.DeleteOperation{OperationId: id}))
	switch {
	case err != nil:
		return fmt.Errorf("delete operation %s: %w", name, err)
	case errors.Is(refused, queue.ErrActive):
		return ErrNotDone
	case errors.Is(refused, queue.ErrNotFound):
		return ErrNotFound
	case refused != nil:
		return fmt.Errorf("delete operation %s: %w", name, refused)
	}
	return nil
}
