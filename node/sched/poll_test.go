package sched

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

func TestAwaitIsASignOfLifeAtItsBeginningOnly(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		ses := g.bot("b", 1)
		start := time.Now()
		if err := ses.Await(context.Background()); !errors.Is(err, ErrUnknownBot) {
			t.Errorf("await: %v", err)
		}
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("the session was closed after %s, want 30 s", took)
		}
	})
}

func TestTakeTellsAllAndForgetsTheEvents(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		ses := g.bot("b", 2)
		name := g.submit(sub("a"))
		g.submit(sub("b"))
		if err := ses.Await(context.Background()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := len(ses.Take()); n != 2 {
			t.Errorf("%d leases, want 2", n)
		}
		g.idle(ses)
		if err := g.Cancel(context.Background(), name); err != nil { // the bot may know it by now
			t.Fatal(err)
		}
		if err := ses.Await(context.Background()); err != nil || len(ses.Take()) != 1 {
			t.Errorf("after a cancellation: %v", err)
		}
		g.submit(sub("c"))
		synctest.Wait()
		if n := len(ses.Take()); n != 1 {
			t.Errorf("%d leases while the cancelled one may be running, want 1", n)
		}
		ses.Ended(func(string) bool { return false })
		synctest.Wait()
		if n := len(ses.Take()); n != 2 {
			t.Errorf("%d leases once it has ended, want 2", n)
		}
	})
}

func TestWhatIsGivenBackIsNoFailure(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		ses := g.bot("b", 1)
		name := g.submit(sub("a"))
		l := g.lease(ses)
		ses.Refuse("its disk is full")
		for range 2 { // the second time there is no such lease
			if err := ses.GiveBack(context.Background(), l.Job.ID, l.Attempt, "not begun"); err != nil {
				t.Fatal(err)
			}
		}
		if st := g.get(name); st.Stage != queue.Queued || st.Job.Failures != 0 || st.Job.Losses != 1 {
			t.Errorf("stage %v, %d failures, %d losses", st.Stage, st.Job.Failures, st.Job.Losses)
		}
	})
}

func TestABotThatRefusesFromTheBeginningGetsNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		g.submit(sub("a"))
		ses := g.open(Bot{Instance: instance, BotID: "b", Capacity: 1, Properties: linux, Refuses: "it is starting"})
		g.idle(ses)
		ses.Refuse("")
		g.lease(ses)
	})
}

func TestAReshapedBotIsMatchedAnew(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		plan9 := []queue.Property{{Name: "OSFamily", Value: "plan9"}}
		ses := g.open(Bot{Instance: instance, BotID: "b", Capacity: 1, Properties: plan9})
		g.submit(sub("a"))
		g.submit(sub("b"))
		g.idle(ses)
		ses.Reshape(linux, 2)
		g.lease(ses)
		g.lease(ses)
		if g.Offers("OSFamily", "plan9") || !g.Offers("OSFamily", "linux") {
			t.Error("what is offered did not change")
		}
		w := g.Snapshot(context.Background(), 1).Workers[0]
		if w.Session.Capacity != 2 || w.Session.Properties[0].Value != "linux" {
			t.Errorf("shown as %+v", w.Session)
		}
		ses.Reshape(plan9, 1) // keeps what it has, gets nothing more
		g.submit(sub("c"))
		g.idle(ses)
		if n := len(ses.Leases()); n != 2 {
			t.Errorf("%d leases, want 2", n)
		}
	})
}
