package invariants

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

func TestTheEventsOfALogKeepAllRules(t *testing.T) {
	g := NewGroups()
	for _, name := range []string{"a", "b"} {
		for i, events := range newNode(t).apply(t, 1, story()...) {
			g.Observe(name, uint64(i+1), events, uint64(i+1))
		}
	}
	l, err := g.Check(Limits{Failures: 1, Losses: 1})
	if err != nil {
		t.Fatal(err)
	}
	if c := l.Completed["job-b"]; len(l.Completed) != 2 || c.Index != 16 || c.Job.Attempt != 2 {
		t.Errorf("completed: %+v", l.Completed)
	}
}

func TestReplicasHearTheSameAtEachIndex(t *testing.T) {
	events := newNode(t).apply(t, 1, story()...)
	for rule, do := range map[string]func(g *Groups){
		"applied index 9 differently": func(g *Groups) { g.Observe("b", 9, nil, 8) },
		"applied index 3 after 4":     func(g *Groups) { g.Observe("b", 4, events[3], 4); g.Observe("b", 3, events[2], 4) },
		"applied index 4 after 4":     func(g *Groups) { g.Observe("b", 4, events[3], 4); g.Observe("b", 4, events[3], 4) },
		"applied index 5 differently": func(g *Groups) { g.Restarted("b"); g.Observe("b", 4, nil, 4); g.Observe("b", 5, nil, 4) },
		"": func(g *Groups) {
			g.Observe("b", 4, events[3], 4)
			g.Restarted("b")
			g.Observe("b", 3, nil, 4)
			g.Observe("b", 4, events[3], 4) // what was not durable yet
		},
	} {
		g := NewGroups()
		for i, e := range events {
			g.Observe("a", uint64(i+1), e, uint64(i+1))
		}
		do(g)
		wantBroken(t, g.Err(), rule)
	}
}

// wantBroken wants an error that says so; no error where it is "".
func wantBroken(t *testing.T, err error, text string) {
	t.Helper()
	if text == "" && err != nil || text != "" && (!errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), text)) {
		t.Errorf("got %v, want %q", err, text)
	}
}

// TestWhatNoLogMaySay changes a true story so that it breaks one rule.
func TestWhatNoLogMaySay(t *testing.T) {
	truth := newNode(t).apply(t, 1, story()...)
	job := func(kind queue.EventKind, i int, change func(j *queue.Job)) []queue.Event {
		j := *truth[i][len(truth[i])-1].Job
		change(&j)
		return []queue.Event{{Kind: kind, Job: &j}}
	}
	same := func(*queue.Job) {}
	for _, c := range []struct {
		broken string
		at     int // 0-based
		events []queue.Event
	}{
		{"was completed at 7 and again", 7, truth[6]},
		{"changed after it was completed at 7", 7, truth[3]},
		{"attempt 1 after stage 3, attempt 1", 4, truth[3]},
		{"attempt 2 after stage 2, attempt 0", 3, job(queue.JobAssigned, 3, func(j *queue.Job) { j.Attempt = 2 })},
		{"has a lease of session s9, which is not open", 3, job(queue.JobAssigned, 3, func(j *queue.Job) { j.SessionID = "s9" })},
		{"became another action", 3, job(queue.JobAssigned, 3, func(j *queue.Job) { j.Action = actionOf("z") })},
		{"was completed in attempt 2, its last was 1", 6, job(queue.JobCompleted, 6, func(j *queue.Job) { j.Attempt = 2 })},
		{"failed 2 times", 9, job(queue.JobQueued, 9, func(j *queue.Job) { j.Failures = 2 })},
		{"was queued again", 2, job(queue.JobQueued, 1, same)},
		{"appeared by an event of kind 2", 1, job(queue.JobAssigned, 3, same)},
		{"moved from attempt 1", 8, slices.Concat(truth[8][:1], job(queue.JobMoved, 8, func(j *queue.Job) { j.Attempt = 2 }))},
		{"has a lease of session s0, which is not open", 8, truth[8][:1]},
		{"got priority 5", 5, slices.Concat(truth[5][:1], job(queue.JobPriority, 5, func(j *queue.Job) { j.Priority = 5 }))},
		{"was made twice", 6, truth[5][:1]},
		{"it never was", 4, truth[13]},
		{"was cancelled twice", 14, truth[13]},
		{"was deleted while it was active", 13, truth[14]},
		{"was opened twice", 1, truth[0]},
		{"it was not open", 17, truth[16]},
		{"it is not open", 2, truth[12]},
		{"is in stage 3 with session \"\"", 3, job(queue.JobAssigned, 3, func(j *queue.Job) { j.SessionID = "" })},
	} {
		t.Run(c.broken, func(t *testing.T) {
			g := NewGroups()
			for i, e := range truth {
				if i == c.at {
					e = c.events
				}
				g.Observe("a", uint64(i+1), e, uint64(i+1))
			}
			_, err := g.Check(Limits{Failures: 1})
			wantBroken(t, err, c.broken)
		})
	}
}
