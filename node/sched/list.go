package sched

import (
	"context"
	"strings"

	"github.com/bgrid-node/bgrid-node/store/queue"
	"github.com/bgrid-node/bgrid-node/store/queue/filter"
)

// answeredToken begins the token of a page of operations that were answered from
// the cache; the id of the last one told follows.
const answeredToken = "answered:"

// List returns a page of an instance's operations that pass the filter, in its
// order, and the token of the next page, empty at the end. size is at most
// queue.MaxPageSize. Operations that were answered from the cache are nowhere but
// in memory: they come last, by id. Errors wrap queue.ErrBadPageToken or
// queue.ErrBadPageSize for what the client did.
func (s *Scheduler) List(ctx context.Context, instance string, f filter.Filter, size int, token string) ([]*State, string, error) {
	var states []*State
	after, answered := strings.CutPrefix(token, answeredToken)
	if !answered {
		rows, next, err := s.o.Queue.List(ctx, queue.ListQuery{Instance: instance, Filter: f, PageSize: size, PageToken: token})
		if err != nil {
			return nil, "", err
		}
		for _, r := range rows {
			st, err := s.listedState(ctx, r)
			if err != nil {
				return nil, "", err
			}
			states = append(states, st)
		}
		if next != "" {
			return states, next, nil
		}
		after = ""
	}
	if size == 0 {
		size = queue.MaxPageSize
	}
	room := size - len(states)
	found := s.finished.list(instance, after, f)
	for i, a := range found {
		if i == room {
			return states, answeredToken + after, nil
		}
		states = append(states, a.state())
		after = a.id.String()
	}
	return states, "", nil
}

// listedState describes a row of a list: with the reason it waits where the
// mirror knows it.
func (s *Scheduler) listedState(ctx context.Context, r queue.OperationJob) (*State, error) {
	if !r.Operation.Cancelled && r.Job.Stage != queue.Completed {
		s.mu.Lock()
		defer s.mu.Unlock()
		if op := s.ops[r.Operation.ID]; op != nil {
			return s.stateLocked(op), nil
		}
	}
	return s.storedState(ctx, r.Operation, r.Job)
}
