package sched

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

func (g *grid) join(x Submission) (string, bool) {
	g.t.Helper()
	name, joined, err := g.Join(context.Background(), x)
	if err != nil {
		g.t.Fatal(err)
	}
	return name, joined
}

func TestIdenticalActionsInFlightShareAJob(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		if _, joined := g.join(sub("a")); joined {
			t.Fatal("joined nothing")
		}
		first := g.submit(sub("a"))
		second, joined := g.join(sub("a"))
		third := g.submit(sub("a"))
		alone := sub("a")
		alone.DoNotCache = true
		fourth := g.submit(alone)
		if _, joined := g.join(alone); joined {
			t.Error("an action that must not be cached was merged")
		}
		elsewhere := sub("a")
		elsewhere.Instance = "elsewhere"
		fifth := g.submit(elsewhere)
		jobs := map[string]int{}
		for _, name := range []string{first, second, third, fourth, fifth} {
			jobs[g.get(name).Job.ID]++
		}
		if !joined || len(jobs) != 3 || jobs[g.get(first).Job.ID] != 3 {
			t.Errorf("joined %t, operations by job %v; want three of one job and two alone", joined, jobs)
		}
		if have := g.Totals(); have.Merged != 2 || have.Submitted != 3 {
			t.Errorf("totals %+v", have)
		}
	})
}

func TestAMergeRaisesTheJob(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		g.submit(sub("a"))
		g.submit(sub("b"))
		urgent := sub("b")
		urgent.Priority = -5
		g.join(urgent)
		lazy := sub("b")
		lazy.Priority = 5
		g.join(lazy)
		ses := g.bot("b", 1)
		if l := g.lease(ses); l.Job.Command != "run b" || l.Job.Priority != -5 {
			t.Errorf("first is %q with priority %d", l.Job.Command, l.Job.Priority)
		}
	})
}

// Many clients ask for few actions while bots complete them at once: each
// operation ends, with the result of its own action, whoever won the race.
func TestMergesRaceCompletions(t *testing.T) {
	g := newGrid(t, fastDir(t), nil)
	defer g.close()
	ctx, cancel := context.WithCancel(context.Background())
	var bots, clients sync.WaitGroup
	for i := range 2 {
		ses := g.bot(fmt.Sprint(i), 2)
		bots.Go(func() {
			for {
				e, err := ses.Next(ctx)
				if err != nil {
					return
				}
				if e.Assigned != nil {
					g.done(ses, e.Assigned)
				}
			}
		})
	}
	for range 8 {
		clients.Go(func() {
			for i := range 60 {
				x := sub(fmt.Sprint(i % 3))
				name, joined, err := g.Join(ctx, x)
				if err == nil && !joined {
					name, err = g.Submit(ctx, x)
				}
				if err != nil {
					t.Error(err)
					return
				}
				if st := follow(t, g, name); st == nil || string(st.Response.GetResult().GetStdoutRaw()) != x.Command {
					t.Errorf("%s ended with %v", name, st)
				}
			}
		})
	}
	clients.Wait()
	cancel()
	bots.Wait()
	if n := g.Totals(); n.Submitted != n.Completed || n.Submitted+n.Merged != 480 {
		t.Errorf("totals %+v, want each of 480 operations in a completed job", n)
	}
	if len(g.jobs)+len(g.ops)+len(g.inflight)+len(g.submitting)+len(g.holds) > 0 {
		t.Error("the mirror keeps something of what is finished")
	}
}

// follow watches an operation to its end.
func follow(t *testing.T, g *grid, name string) *State {
	w, err := g.Watch(context.Background(), name)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer w.Close()
	for {
		st, err := w.Next(context.Background())
		if err != nil {
			t.Error(err)
			return nil
		}
		if st.Done {
			return st
		}
		if st.Stage == queue.Queued && st.WaitReason == "" {
			t.Errorf("%s is queued and does not say why", name)
		}
	}
}
