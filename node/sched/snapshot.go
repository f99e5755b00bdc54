package sched

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

// Totals are counts since the node started.
type Totals struct {
	Submitted uint64 // jobs
	Merged    uint64 // operations that joined a job in flight
	Requeued  uint64 // attempts that came to nothing
	Completed uint64 // jobs, whatever their outcome
	Cancelled uint64 // operations
}

// Snapshot is the scheduler at one moment, for people and metrics.
type Snapshot struct {
	Totals
	Draining bool
	Stalled  string // why the command log takes no commands; "" when it does
	Queued   int    // jobs
	Running  int    // jobs in the hands of sessions
	Workers  []Worker
	// Platforms has an element for each set of properties that a worker offers or a
	// waiting job asks for.
	Platforms []Platform
	Queue     []*State // the first ones that wait, in the order in which they would run
	Recent    []*State // that ended last, the latest first
}

// Worker is an open session as people see it.
type Worker struct {
	Session *queue.Session
	Running []*State // one operation for each lease, the oldest first
	Drained bool     // by an operator
	Away    bool     // not heard of since the node started
	Refuses string   // why it takes no work by itself; "" when it does
}

// Platform is the load of one set of properties of one instance.
type Platform struct {
	Instance   string
	Properties []queue.Property
	Slots      int // of the sessions that have exactly this set
	Busy       int
	Queued     int // jobs that ask for exactly this set
}

// Totals returns the counts.
func (s *Scheduler) Totals() Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// Snapshot returns the present state, with at most so many elements in Queue and
// in Recent.
func (s *Scheduler) Snapshot(ctx context.Context, most int) *Snapshot {
	s.mu.Lock()
	n := &Snapshot{Totals: s.total, Draining: s.draining}
	if s.stall != nil {
		n.Stalled = s.stall.Error()
	}
	platforms := map[string]*Platform{}
	for _, ses := range s.sessions {
		n.Workers = append(n.Workers, s.workerOf(ses))
		n.Running += len(ses.leases)
		p := platformFor(platforms, ses.row.Instance, ses.shown.Properties)
		p.Slots += ses.capacity()
		p.Busy += len(ses.leases)
	}
	for _, c := range s.classes {
		if waiting := c.queue.len(); waiting > 0 {
			n.Queued += waiting
			platformFor(platforms, c.instance, c.props).Queued += waiting
		}
	}
	n.Queue = s.firstWaiting(most)
	ended := s.recent.latest(most)
	for _, op := range ended {
		n.Recent = append(n.Recent, s.stateLocked(op))
	}
	s.mu.Unlock()

	for i, op := range ended {
		n.Recent[i].Response, _ = op.done.response(ctx, s.o.Blobs) // one that is gone by now is shown without
	}
	slices.SortFunc(n.Workers, func(a, b Worker) int { return cmp.Compare(a.Session.BotID, b.Session.BotID) })
	for _, key := range slices.Sorted(maps.Keys(platforms)) {
		n.Platforms = append(n.Platforms, *platforms[key])
	}
	return n
}

func (s *Scheduler) workerOf(ses *Session) Worker {
	w := Worker{Session: ses.shown, Drained: ses.drained, Away: ses.away, Refuses: ses.refuses}
	for _, l := range ses.leases {
		if len(l.job.ops) > 0 {
			w.Running = append(w.Running, s.stateLocked(l.job.ops[0]))
		}
	}
	slices.SortFunc(w.Running, func(a, b *State) int { return a.Job.StartedAt.Compare(b.Job.StartedAt) })
	return w
}

func platformFor(all map[string]*Platform, instance string, props []queue.Property) *Platform {
	key := classKey(instance, props)
	p := all[key]
	if p == nil {
		p = &Platform{Instance: instance, Properties: props}
		all[key] = p
	}
	return p
}

// firstWaiting merges the first jobs of all classes.
func (s *Scheduler) firstWaiting(most int) []*State {
	var heads [][]*job
	for _, c := range s.classes {
		var jobs []*job
		c.queue.each(func(j *job) bool {
			if len(jobs) < most {
				jobs = append(jobs, j)
			}
			return len(jobs) < most
		})
		if len(jobs) > 0 {
			heads = append(heads, jobs)
		}
	}
	var out []*State
	for len(heads) > 0 && len(out) < most {
		first := 0
		for i := range heads {
			if s.ahead(heads[i][0], heads[first][0]) {
				first = i
			}
		}
		if j := heads[first][0]; len(j.ops) > 0 {
			out = append(out, s.stateLocked(j.ops[0]))
		}
		if heads[first] = heads[first][1:]; len(heads[first]) == 0 {
			heads = slices.Delete(heads, first, first+1)
		}
	}
	return out
}
