package reapi

import (
	"context"
	"time"

	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// asItIs follows an operation from the state that it is in.
func asItIs(w watch) watch { return w }

// fromQueue follows a new operation. Its first state is QUEUED, also when a free
// worker had the job before anybody could look: clients count on that order
// (REAPI, ExecutionStage).
func fromQueue(w watch) watch { return &queuedFirst{watch: w} }

type queuedFirst struct {
	watch
	asked bool
	held  *sched.State // the state that comes after the queued one
}

// Next implements watch.
func (q *queuedFirst) Next(ctx context.Context) (*sched.State, error) {
	if held := q.held; held != nil {
		q.held = nil
		return held, nil
	}
	s, err := q.watch.Next(ctx)
	if q.asked || err != nil {
		return s, err
	}
	q.asked = true
	if s.Stage == queue.Queued && !s.Done {
		return s, nil
	}
	q.held = s
	return queuedBefore(s), nil
}

// queuedBefore is the state that s was in before a worker had it.
func queuedBefore(s *sched.State) *sched.State {
	before := *s
	before.Stage, before.Done, before.Worker, before.Response = queue.Queued, false, "", nil
	before.StdoutStream, before.StderrStream = "", ""
	if s.Job != nil {
		job := *s.Job
		job.Stage, job.BotID, job.StartedAt, job.CompletedAt = queue.Queued, "", time.Time{}, time.Time{}
		before.Job = &job
	}
	return &before
}
