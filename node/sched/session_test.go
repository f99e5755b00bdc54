package sched

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

func TestASilentWorkerIsNoticedWithinTheExpiry(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		ses := g.bot("b", 1)
		name := g.submit(sub("a"))
		l := g.lease(ses)
		for range 10 { // it lives as long as it calls
			time.Sleep(29 * time.Second)
			if err := ses.Heartbeat(); err != nil {
				t.Fatal(err)
			}
		}
		poll, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		if _, err := ses.Next(poll); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		time.Sleep(29 * time.Second)
		if st := g.get(name); st.Stage != queue.Executing {
			t.Fatalf("stage %v before the expiry", st.Stage)
		}
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		if st := g.get(name); st.Stage != queue.Queued || st.Job.Failures != 1 {
			t.Errorf("stage %v after the expiry", st.Stage)
		}
		if err := ses.Heartbeat(); !errors.Is(err, ErrUnknownBot) {
			t.Errorf("heartbeat of the closed session: %v", err)
		}
		if e := g.next(ses); e.Cancelled != l.Job.ID {
			t.Errorf("a bot that comes back too late is told %v, want to kill the job", e)
		}
		if _, err := ses.Next(context.Background()); err != io.EOF {
			t.Errorf("next: %v, want io.EOF", err)
		}
	})
}

func TestALocalSessionNeedsNoSignOfLife(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		ses := g.open(Bot{Instance: instance, BotID: "local", Capacity: 1, Properties: linux, Local: true})
		name := g.submit(sub("a"))
		l := g.lease(ses)
		time.Sleep(time.Hour)
		g.done(ses, l)
		if st := g.get(name); st.Job.Attempt != 1 {
			t.Errorf("attempt %d", st.Job.Attempt)
		}
	})
}

func TestATakeOverKeepsTheLeasesThatAreListed(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		old := g.bot("b", 3)
		kept, lost, waits := g.submit(sub("kept")), g.submit(sub("lost")), g.submit(sub("unlucky"))
		leases := map[string]*Lease{}
		for range 3 {
			l := g.lease(old)
			leases[l.Job.Command] = l
		}
		last := g.submit(sub("last"))
		ses := g.open(Bot{
			Instance: instance, BotID: "b", Capacity: 2, Properties: linux,
			Leases: []string{leases["run kept"].Job.ID, leases["run unlucky"].Job.ID, "unknown"},
		})
		have := ses.Leases()
		if len(have) != 2 || have[0].Attempt != 1 || have[1].Attempt != 1 {
			t.Fatalf("leases %v, want the two that were listed, in their first attempt", have)
		}
		g.idle(ses) // full, and it knows what it has
		if st := g.get(lost); st.Stage != queue.Queued || st.Job.Failures != 1 {
			t.Errorf("the omitted job: stage %v, %d failures", st.Stage, st.Job.Failures)
		}
		if e := g.next(old); e.Cancelled != leases["run lost"].Job.ID {
			t.Errorf("the old session is told %v", e)
		}
		g.done(ses, leases["run kept"])
		if l := g.lease(ses); l.Job.Command != "run lost" || l.Attempt != 2 {
			t.Errorf("next is %q in attempt %d, want the lost one first", l.Job.Command, l.Attempt)
		}
		if st := g.get(kept); !st.Done || st.Job.Attempt != 1 {
			t.Errorf("kept: done %t in attempt %d", st.Done, st.Job.Attempt)
		}
		g.restart() // the move is durable
		ses, err := g.Session(ses.ID())
		if err != nil {
			t.Fatal(err)
		}
		if n := len(ses.Leases()); n != 2 {
			t.Errorf("%d leases after a restart, want 2", n)
		}
		_, _ = waits, last
	})
}

func TestSimultaneousSessionsOfABotLeaveOneOpen(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		all := make(chan *Session, 8)
		for range 8 {
			go func() {
				ses, err := g.OpenSession(context.Background(), Bot{Instance: instance, BotID: "b", Capacity: 1, Properties: linux})
				if err != nil && !errors.Is(err, ErrUnknownBot) {
					t.Error(err)
				}
				all <- ses
			}()
		}
		open := 0
		for range 8 {
			if ses := <-all; ses != nil && ses.Heartbeat() == nil {
				open++
			}
		}
		if open == 0 || len(g.sessions) != 1 || len(g.bots) != 1 {
			t.Errorf("%d sessions are open", len(g.sessions))
		}
	})
}

func TestADrainedWorkerFinishesAndGetsNothingMore(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		ses := g.bot("b", 2)
		g.submit(sub("a"))
		l := g.lease(ses)
		if err := g.DrainBot(instance, "b", true); err != nil {
			t.Fatal(err)
		}
		name := g.submit(sub("b"))
		g.done(ses, l)
		g.idle(ses)
		if have, want := g.get(name).WaitReason, "worker b takes no work: it is drained"; have != want {
			t.Errorf("reason %q, want %q", have, want)
		}
		ses = g.bot("b", 2) // a new session does not undo it
		g.idle(ses)
		if err := g.DrainBot(instance, "b", false); err != nil {
			t.Fatal(err)
		}
		if l := g.lease(ses); l.Job.Command != "run b" {
			t.Error(l.Job.Command)
		}
		for _, drain := range []bool{true, false} {
			if err := g.DrainBot(instance, "nobody", drain); !errors.Is(err, ErrUnknownBot) {
				t.Errorf("drain %t of an unknown worker: %v", drain, err)
			}
		}
	})
}

func TestAWorkerMayRefuseWork(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		ses := g.bot("b", 1)
		ses.Refuse("its disk is full")
		name := g.submit(sub("a"))
		g.idle(ses)
		if have, want := g.get(name).WaitReason, "worker b takes no work: its disk is full"; have != want {
			t.Errorf("reason %q, want %q", have, want)
		}
		ses.Refuse("")
		g.done(ses, g.lease(ses))
	})
}

// A bot in a call is known to live: it comes before one that may have died.
func TestALivingWorkerComesFirst(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		silent, polls := g.bot("silent", 8), g.bot("polls", 1)
		got := make(chan Event)
		go func() {
			e, err := polls.Next(context.Background())
			if err != nil {
				t.Error(err)
			}
			got <- e
		}()
		synctest.Wait()
		g.submit(sub("a"))
		if e := <-got; e.Assigned == nil {
			t.Errorf("got %v", e)
		}
		g.submit(sub("b"))
		g.lease(silent)
	})
}

func TestOffersKnowsTheOpenSessions(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		if g.Offers("OSFamily", "linux") {
			t.Error("offered without a worker")
		}
		a, _ := g.bot("a", 1), g.bot("b", 1)
		if err := a.Close(context.Background(), "leaves"); err != nil {
			t.Fatal(err)
		}
		if !g.Offers("OSFamily", "linux") || g.Offers("OSFamily", "plan9") {
			t.Error("offers are wrong")
		}
		if err := a.Close(context.Background(), "again"); err != nil {
			t.Errorf("close twice: %v", err)
		}
	})
}

func TestABotNeedsAnIDAndASlot(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		for _, b := range []Bot{{Instance: instance, Capacity: 1}, {Instance: instance, BotID: "b"}} {
			if _, err := g.OpenSession(context.Background(), b); err == nil {
				t.Errorf("%+v was taken", b)
			}
		}
		if sessions, err := g.store.Sessions(context.Background()); err != nil || !slices.Equal(sessions, nil) {
			t.Errorf("sessions %v, %v", sessions, err)
		}
	})
}
