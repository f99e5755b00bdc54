package sched

import (
	"slices"
	"strings"
	"sync"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/uuid"

	"github.com/bgrid-node/bgrid-node/store/queue"
	"github.com/bgrid-node/bgrid-node/store/queue/filter"
)

// finished remembers operations that were answered from the cache: for a time,
// and the newest ones only. They are written nowhere.
type finished struct {
	ttl  time.Duration
	most int

	mu    sync.Mutex
	byID  map[uuid.UUID]*answer
	order []*answer // by age; deleted ones stay until they are due
}

// answer is one of them, in as few bytes as it goes.
type answer struct {
	id       uuid.UUID
	sub      Submission
	at       time.Time
	response *repb.ExecuteResponse
}

func newFinished(ttl time.Duration, most int) *finished {
	return &finished{ttl: ttl, most: most, byID: map[uuid.UUID]*answer{}}
}

// Finished returns the state of a new operation that the cache answered. It can
// be read by its name for Options.FinishedTTL, as long as it is among the newest
// Options.FinishedMost, and this scheduler runs. r is kept and must not be changed.
func (s *Scheduler) Finished(sub Submission, r *repb.ExecuteResponse) *State {
	id, err := uuid.Parse(sub.OperationID)
	if err != nil {
		id = uuid.New()
	}
	a := &answer{id: id, sub: sub, at: time.Now(), response: r}
	s.finished.add(a)
	return a.state()
}

func (f *finished) add(a *answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire(a.at)
	for len(f.order) >= f.most {
		f.dropOldest()
	}
	f.order = append(f.order, a)
	f.byID[a.id] = a
}

// expire forgets what is due.
func (f *finished) expire(now time.Time) {
	for len(f.order) > 0 && now.Sub(f.order[0].at) >= f.ttl {
		f.dropOldest()
	}
}

func (f *finished) dropOldest() {
	if a := f.order[0]; f.byID[a.id] == a { // and not one that was answered again
		delete(f.byID, a.id)
	}
	f.order[0] = nil
	f.order = f.order[1:]
}

// sweep is expire for when nothing is added any more.
func (f *finished) sweep() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire(time.Now())
	if len(f.order) == 0 {
		f.order, f.byID = nil, map[uuid.UUID]*answer{}
	}
}

func (f *finished) get(instance, id string) *answer {
	u, err := uuid.Parse(id)
	if err != nil || u.String() != id {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if a := f.byID[u]; a != nil && a.sub.Instance == instance && time.Since(a.at) < f.ttl {
		return a
	}
	return nil
}

func (f *finished) remove(a *answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.byID, a.id)
}

// list returns those of an instance that pass a filter and whose id is above
// after, by id.
func (f *finished) list(instance, after string, by filter.Filter) []*answer {
	if !mayPass(by) {
		return nil
	}
	f.mu.Lock()
	f.expire(time.Now())
	var out []*answer
	for _, a := range f.byID {
		if a.sub.Instance == instance && a.id.String() > after && a.passes(by) {
			out = append(out, a)
		}
	}
	f.mu.Unlock()
	slices.SortFunc(out, func(a, b *answer) int { return strings.Compare(a.id.String(), b.id.String()) })
	return out
}

// state describes the operation as if a job had been queued and completed at
// once.
func (a *answer) state() *State {
	id := a.id.String()
	row := &queue.Job{
		Instance: a.sub.Instance, Action: a.sub.Action, Command: a.sub.Command, Priority: a.sub.Priority,
		Matched: a.sub.Matched, Carried: a.sub.Carried, Timeout: a.sub.Timeout, DoNotCache: a.sub.DoNotCache,
		Stage: queue.Completed, QueuedAt: a.at, CompletedAt: a.at,
	}
	op := &queue.Operation{
		ID: id, Instance: a.sub.Instance, RequestMetadata: metadataBytes(a.sub), Client: a.sub.Client, CreatedAt: a.at,
	}
	return &State{
		Name: operationName(a.sub.Instance, id), Operation: op, Job: row,
		Stage: queue.Completed, Done: true, Response: a.response,
		Worker: a.response.GetResult().GetExecutionMetadata().GetWorker(),
	}
}
