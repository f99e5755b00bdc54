package node

import (
	"context"
	"errors"
	"io"

	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// leases gives a local worker what a remote one gets over the Bots service: the
// events of one session, and nothing more.
type leases struct{ session *sched.Session }

var _ runners.Leases = leases{}

// Next implements runners.Leases.
func (l leases) Next(ctx context.Context) (runners.Event, error) {
	e, err := l.session.Next(ctx)
	if errors.Is(err, sched.ErrStopped) {
		return runners.Event{}, io.EOF
	}
	if err != nil || e.Assigned == nil {
		return runners.Event{Cancelled: e.Cancelled}, err
	}
	job := e.Assigned.Job
	return runners.Event{Assigned: &runners.Lease{
		ID: job.ID, Attempt: e.Assigned.Attempt, Instance: job.Instance, Action: job.Action,
		Properties: propertiesOf(job), Timeout: e.Assigned.Timeout, Queued: job.QueuedAt,
	}}, nil
}

// Complete implements runners.Leases.
func (l leases) Complete(ctx context.Context, c runners.Completion) error {
	return l.session.Complete(ctx, sched.Completion{JobID: c.LeaseID, Attempt: c.Attempt, Status: c.Status, Result: c.Result})
}

// propertiesOf returns the matched and the carried properties of a job.
func propertiesOf(job *queue.Job) []runners.Property {
	out := make([]runners.Property, 0, len(job.Matched)+len(job.Carried))
	for _, list := range [2][]queue.Property{job.Matched, job.Carried} {
		for _, p := range list {
			out = append(out, runners.Property(p))
		}
	}
	return out
}
