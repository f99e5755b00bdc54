package sim

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"

	"github.com/bgrid-node/bgrid-node/raftfsm/invariants"
)

// executions is what the workers did, as they themselves know it.
type executions struct {
	mu   sync.Mutex
	jobs map[string][]*execution
}

// execution is an action that a worker began to run.
type execution struct {
	job     string
	attempt string
	bot     *bot
	began   time.Time
	failed  bool // the worker said so: it is to be run again
	dropped bool // the worker was told to kill it, or died
}

func (e *executions) begin(b *bot, job, attempt string) *execution {
	x := &execution{job: job, attempt: attempt, bot: b, began: time.Now()}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.jobs == nil {
		e.jobs = map[string][]*execution{}
	}
	e.jobs[job] = append(e.jobs[job], x)
	b.w.count(&b.w.stats.executions)
	return x
}

func (e *executions) mark(x *execution, failed, dropped bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	x.failed = x.failed || failed
	x.dropped = x.dropped || dropped
}

// slack is how much shorter than the expiry a worker may think that it was silent:
// calls take their time, and their answers.
const slack = 3 * time.Second

// check proves that no action ran twice without need: only when the worker that
// had it failed, died, or was away for the expiry; and that the result of each job
// is that of the execution which the log says.
func (e *executions) check(w *world, l *invariants.Ledger) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for job, all := range e.jobs {
		slices.SortFunc(all, func(a, b *execution) int { return cmp.Compare(a.began.UnixNano(), b.began.UnixNano()) })
		for i, x := range all[1:] {
			before := all[i]
			if !before.failed && !before.bot.diedBetween(before.began, x.began) && !before.bot.awayBetween(before.began, x.began) {
				w.fail("job %s ran in attempt %s on %s from %s and in attempt %s on %s from %s, although the first worker was there",
					job, before.attempt, before.bot.name, clock(before.began), x.attempt, x.bot.name, clock(x.began))
			}
		}
	}
	for id, c := range l.Completed {
		var r repb.ExecuteResponse
		if err := proto.Unmarshal(c.Job.Response, &r); err != nil {
			w.fail("the response of job %s cannot be read: %v", id, err)
			continue
		}
		if r.Result == nil {
			continue // cancelled
		}
		if want, have := resultText(id, itoa(c.Job.Attempt), c.Job.BotID), string(r.Result.StdoutRaw); want != have {
			w.fail("job %s was completed at %d with the result %q, want %q", id, c.Index, have, want)
		}
	}
}

func clock(t time.Time) string { return t.Format("04:05.000") }
