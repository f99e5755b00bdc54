package sched

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/code"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

func TestSubmitWithAFreeSlotIsOneCommit(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		ses := g.bot("b", 1)
		before := g.log.count()
		name := g.submit(sub("a"))
		if n := g.log.count() - before; n != 1 {
			t.Errorf("submit took %d commands, want 1 that carries the assignment", n)
		}
		l := g.lease(ses)
		if st := g.get(name); st.Stage != queue.Executing || st.Worker != "b" || st.WaitReason != "" {
			t.Errorf("state is %v on %q waiting for %q, want executing on b", st.Stage, st.Worker, st.WaitReason)
		}
		if l.Attempt != 1 || l.Job.Command != "run a" {
			t.Errorf("lease is attempt %d of %q", l.Attempt, l.Job.Command)
		}
	})
}

func TestCompleteAssignsTheNextJobInTheSameCommand(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		ses := g.bot("b", 1)
		g.submit(sub("a"))
		g.submit(sub("b"))
		first := g.lease(ses)
		before := g.log.count()
		g.done(ses, first)
		if n := g.log.count() - before; n != 1 {
			t.Errorf("complete took %d commands, want 1", n)
		}
		if diff := cmp.Diff([]string{"Complete", "Assign"}, g.log.last()); diff != "" {
			t.Errorf("entries of the command (-want +have):\n%s", diff)
		}
		if l := g.lease(ses); l.Job.Command != "run b" {
			t.Errorf("next is %q", l.Job.Command)
		}
	})
}

func TestJobsGoToWorkersThatOfferAllTheirProperties(t *testing.T) {
	arm := queue.Property{Name: "ISA", Value: "arm"}
	x86 := queue.Property{Name: "ISA", Value: "x86"}
	inBubble(t, nil, func(t *testing.T, g *grid) {
		one := g.bot("arm", 4, arm)
		both := g.bot("both", 4, arm, x86) // a key may repeat
		want := sub("needs x86")
		want.Matched = append([]queue.Property{x86}, linux...)
		g.submit(want)
		if l := g.lease(both); l.Job.Command != "run needs x86" {
			t.Errorf("both got %q", l.Job.Command)
		}
		g.idle(one)
		other := sub("other instance")
		other.Instance = "elsewhere"
		name := g.submit(other)
		if st := g.get(name); st.Stage != queue.Queued {
			t.Errorf("a worker of another instance got the job: %v", st.Stage)
		}
	})
}

func TestOrderIsPriorityThenAge(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		for i, priority := range []int32{5, 0, 5, -3, 0} {
			x := sub(fmt.Sprint(i))
			x.Priority = priority
			g.submit(x)
		}
		var have []string
		ses := g.bot("b", 1)
		for range 5 {
			l := g.lease(ses)
			have = append(have, l.Job.Command)
			g.done(ses, l)
		}
		if diff := cmp.Diff([]string{"run 3", "run 1", "run 4", "run 0", "run 2"}, have); diff != "" {
			t.Errorf("order (-want +have):\n%s", diff)
		}
	})
}

func TestARequeuedJobGoesToTheFrontOfItsPriority(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		ses := g.bot("b", 1)
		for _, name := range []string{"a", "b", "c"} {
			g.submit(sub(name))
		}
		urgent := sub("urgent")
		urgent.Priority = -1
		l := g.lease(ses)
		g.submit(urgent)
		g.complete(ses, l, code.Code_UNAVAILABLE, nil)
		var have []string
		for range 4 {
			l := g.lease(ses)
			have = append(have, fmt.Sprintf("%s %d", l.Job.Command, l.Attempt))
			g.done(ses, l)
		}
		// The slot was promised with the completion that gave the job back.
		if diff := cmp.Diff([]string{"run urgent 1", "run a 2", "run b 1", "run c 1"}, have); diff != "" {
			t.Errorf("order (-want +have):\n%s", diff)
		}
	})
}

// Jobs that no worker can take are never looked at when another is dispatched.
func TestUnmatchableJobsCostNothing(t *testing.T) {
	dir := fastDir(t)
	g := newGrid(t, dir, nil)
	defer g.close()
	ses := g.bot("b", 1)
	for i := range 300 {
		x := of("big", fmt.Sprint("stuck ", i))
		x.Priority = -1
		x.Matched = []queue.Property{{Name: "ISA", Value: fmt.Sprint("none", i%3)}}
		g.submit(x)
	}
	looked := 0
	for _, c := range g.classes {
		c.queue = &countingOrder{order: c.queue, heads: &looked, unserved: len(c.sessions) == 0}
	}
	before := g.log.count()
	for i := range 20 {
		g.submit(sub(fmt.Sprint(i)))
		g.done(ses, g.lease(ses))
	}
	if n := g.log.count() - before; n != 40 {
		t.Errorf("20 jobs took %d commands, want 40", n)
	}
	if looked > 0 {
		t.Errorf("the queues that no worker serves were looked at %d times", looked)
	}
}

// countingOrder counts who asks for the head.
type countingOrder struct {
	order
	heads    *int
	unserved bool
}

func (o *countingOrder) head() *job {
	if o.unserved {
		*o.heads++
	}
	return o.order.head()
}

func (o *countingOrder) len() int {
	if o.unserved {
		*o.heads++
	}
	return o.order.len()
}

func TestDispatchResumesWhenTheLogTakesCommandsAgain(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		ses := g.bot("b", 1)
		g.submit(sub("a"))
		second := g.submit(sub("b"))
		l := g.lease(ses)
		full := errors.New("disk full")
		g.log.failWith(full)
		c := Completion{JobID: l.Job.ID, Attempt: l.Attempt, Result: result()}
		if err := ses.Complete(context.Background(), c); !errors.Is(err, full) {
			t.Fatalf("complete: %v, want the log's error", err)
		}
		if _, err := g.Submit(context.Background(), sub("c")); !errors.Is(err, full) {
			t.Fatalf("submit: %v, want the log's error", err)
		}
		if have, want := g.get(second).WaitReason, "the command log does not take commands: not proposed: disk full"; have != want {
			t.Errorf("it waits because %q, want %q", have, want)
		}
		g.log.failWith(nil)
		if err := ses.Complete(context.Background(), c); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if l := g.lease(ses); l.Job.Command != "run b" {
			t.Errorf("got %q", l.Job.Command)
		}
		if took := time.Since(start); took > g.o.RetryDelay {
			t.Errorf("dispatch resumed after %v, want at most %v", took, g.o.RetryDelay)
		}
	})
}
