package sched

import (
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

// job mirrors an unfinished job. row is what was committed last; the rest is
// this process's own.
type job struct {
	row     *queue.Job
	ops     []*operation // those not done
	class   *class
	lease   *lease  // while a session has it
	streams streams // of the attempt that said so last
	account string  // who pays for it: the invocation
	seq     uint64  // age: lower is older

	// While it waits in its class's queue:
	list       *jobList
	prev, next *job
	lane       *lane // nil in the front list

	version   uint64    // grows with each change that watchers are to see
	rank      int       // place in the queue when it was last ranked, from 1; 0: never
	ranking   uint64    // of its class, when that was
	placed    time.Time // when it began to wait
	published reason    // what watchers were told
	protected time.Time
}

// operation mirrors an operation that is not done, or one that a watch still
// holds.
type operation struct {
	row     *queue.Operation
	job     *job
	watches []*Watch
	done    *outcome // set once
}

// lease is a job in a session's hands.
type lease struct {
	session    *Session
	job        *job
	attempt    int32
	share      share
	taken      bool // left through Session.Next
	completing bool // the bot's word on its end is being committed
}

func (j *job) waiting() bool { return j.list != nil }

func (j *job) mergeKey() mergeKey { return mergeKey{j.row.Instance, j.row.Action} }

// addJob begins to mirror a job with its first operation.
func (s *Scheduler) addJob(row *queue.Job, first *queue.Operation) *job {
	s.seq++
	j := &job{row: row, seq: s.seq, class: s.classFor(row.Instance, row.Matched, row.Carried), protected: time.Now()}
	j.class.jobs++
	s.jobs[row.ID] = j
	if !row.DoNotCache {
		s.inflight[j.mergeKey()] = j
	}
	if first != nil {
		j.account = accountOf(first)
		s.addOperation(j, first)
	}
	return j
}

func (s *Scheduler) addOperation(j *job, row *queue.Operation) {
	op := &operation{row: row, job: j}
	j.ops = append(j.ops, op)
	s.ops[row.ID] = op
}

// dropOperation ends an operation with its outcome. Watches keep it.
func (s *Scheduler) dropOperation(op *operation, out *outcome) {
	op.done = out
	delete(s.ops, op.row.ID)
	op.wake()
}

// dropJob ends a job and all operations that are left of it.
func (s *Scheduler) dropJob(j *job) {
	delete(s.jobs, j.row.ID)
	if s.inflight[j.mergeKey()] == j {
		delete(s.inflight, j.mergeKey())
	}
	j.class.jobs--
	out := &outcome{bytes: j.row.Response, blob: j.row.ResponseBlob}
	if len(j.ops) > 0 {
		s.recent.add(j.ops[0])
	}
	for _, op := range j.ops {
		s.dropOperation(op, out)
	}
	j.ops = nil
}

// changed tells all who watch the job.
func (j *job) changed() {
	j.version++
	for _, op := range j.ops {
		op.wake()
	}
}

func (op *operation) wake() {
	for _, w := range op.watches {
		signal(w.wake)
	}
}

// signal wakes the one who waits on c, now or when it looks next.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// accountOf says on whose account a job goes: its invocation's or, without one,
// its client's.
func accountOf(op *queue.Operation) string {
	var m repb.RequestMetadata
	if len(op.RequestMetadata) > 0 && proto.Unmarshal(op.RequestMetadata, &m) == nil && m.ToolInvocationId != "" {
		return m.ToolInvocationId
	}
	return op.Client
}
