package bots

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

func TestHowLongACallWaits(t *testing.T) {
	for _, c := range []struct {
		rule           string
		deadline, want time.Duration
	}{
		{"four fifths of the deadline", 10 * time.Second, 8 * time.Second},
		{"not at all when that is under 3 s", 3700 * time.Millisecond, 0},
		{"at least 3 s otherwise", 3750 * time.Millisecond, 3 * time.Second},
		{"half of the expiry at most", time.Hour, 15 * time.Second},
		{"the same without a deadline", 0, 15 * time.Second},
	} {
		t.Run(c.rule, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *grid) {
				b := g.create(bot("b", 1))
				ctx := t.Context()
				if c.deadline > 0 {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, c.deadline)
					defer cancel()
				}
				start := time.Now()
				a := <-g.call(ctx, b)
				if took := time.Since(start).Round(time.Millisecond); a.err != nil || took != c.want || a.Version != b.Version {
					t.Errorf("it took %s, %v: want %s", took, a.err, c.want)
				}
			})
		})
	}
}

func TestAWaitEndsWithTheLease(t *testing.T) {
	inBubble(t, func(t *testing.T, g *grid) {
		b := g.create(bot("b", 1))
		waiting := g.call(t.Context(), b)
		time.Sleep(time.Second)
		start := time.Now()
		g.submit("a")
		if a := <-waiting; a.err != nil || len(a.Leases) != 1 || time.Since(start) > 0 {
			t.Errorf("after %s: %v, %v", time.Since(start), a.BotSession, a.err)
		}
	})
}

func TestABotAtCapacityWaitsForACancellation(t *testing.T) {
	inBubble(t, func(t *testing.T, g *grid) {
		op := g.submit("a")
		b := g.wantLeases(g.create(bot("b", 1)), 1)
		b.Status = botspb.BotStatus_UNHEALTHY // nor does this keep it from waiting
		waiting := g.call(t.Context(), b)
		synctest.Wait()
		start := time.Now()
		if err := g.scheduler.Cancel(t.Context(), op); err != nil {
			t.Fatal(err)
		}
		if a := <-waiting; a.err != nil || len(a.Leases) != 0 || time.Since(start) > 0 {
			t.Errorf("after %s: %v, %v", time.Since(start), a.BotSession, a.err)
		}
	})
}

func TestANewerCallEndsTheWaitOfAnOlder(t *testing.T) {
	inBubble(t, func(t *testing.T, g *grid) {
		op := g.submit("a")
		b := g.wantLeases(g.create(bot("b", 1)), 1)
		older := g.call(t.Context(), b)
		synctest.Wait()
		start := time.Now()
		g.update(done(b, 0))
		if a := <-older; a.err != nil || time.Since(start) > 0 {
			t.Errorf("the older call: %v after %s", a.err, time.Since(start))
		}
		if !g.state(op).Done {
			t.Error("the completion did not count")
		}
	})
}

func TestAClientThatLeavesLosesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, g *grid) {
		b := g.create(bot("b", 1))
		ctx, cancel := context.WithCancel(t.Context())
		waiting := g.call(ctx, b)
		synctest.Wait()
		cancel()
		if a := <-waiting; status.Code(a.err) != codes.Canceled {
			t.Error(a.err)
		}
		op := g.submit("a") // goes to a bot that is between calls
		synctest.Wait()
		g.wantLeases(g.update(b), 1)
		g.wantStage(op, queue.Executing, 0)
	})
}

func TestAWaitingBotThatVanishesIsNoticedWithinTheExpiry(t *testing.T) {
	inBubble(t, func(t *testing.T, g *grid) {
		op := g.submit("a")
		b := g.wantLeases(g.create(bot("b", 1)), 1)
		start := time.Now()
		waiting := g.call(t.Context(), b) // nobody will hear the answer
		time.Sleep(30*time.Second + time.Millisecond - time.Since(start))
		synctest.Wait()
		g.wantStage(op, queue.Queued, 1)
		<-waiting
	})
}

func TestWaitsEndWhenTheServerStops(t *testing.T) {
	inBubble(t, func(t *testing.T, g *grid) {
		waiting := g.call(t.Context(), g.create(bot("b", 1)))
		synctest.Wait()
		g.endWaits()
		if a := <-waiting; status.Code(a.err) != codes.Unavailable {
			t.Error(a.err)
		}
	})
}

func TestADrainedBotKeepsWaiting(t *testing.T) {
	inBubble(t, func(t *testing.T, g *grid) {
		b := g.create(bot("b", 1))
		if err := g.scheduler.DrainBot(instance, "b", true); err != nil {
			t.Fatal(err)
		}
		g.submit("a")
		start := time.Now()
		a := <-g.call(t.Context(), b)
		if a.err != nil || len(a.Leases) != 0 || time.Since(start) != 15*time.Second {
			t.Errorf("after %s: %v, %v", time.Since(start), a.BotSession, a.err)
		}
		waiting := g.call(t.Context(), a.BotSession)
		synctest.Wait()
		if err := g.scheduler.DrainBot(instance, "b", false); err != nil {
			t.Fatal(err)
		}
		if a := <-waiting; a.err != nil || len(a.Leases) != 1 {
			t.Errorf("%v, %v", a.BotSession, a.err)
		}
	})
}

func TestABotThatHoldsItsResultsBackDoesNotWaitLong(t *testing.T) {
	inBubble(t, func(t *testing.T, g *grid) {
		for _, name := range []string{"a", "b", "c"} {
			g.submit(name)
		}
		wait := func(b *botspb.BotSession) (*botspb.BotSession, time.Duration) {
			t.Helper()
			start := time.Now()
			a := <-g.call(t.Context(), b)
			if a.err != nil {
				t.Fatal(a.err)
			}
			return a.BotSession, time.Since(start)
		}
		b := g.wantLeases(g.create(bot("b", 1)), 1)
		b, took := wait(b)
		if took != 15*time.Second {
			t.Errorf("before anything is known of it, a call takes %s", took)
		}
		b = g.wantLeases(g.update(done(b, 0)), 1) // it was ready long before
		if b, took = wait(b); took != heldWait {
			t.Errorf("a call takes %s, want %s", took, heldWait)
		}
		ctx, cancel := context.WithCancel(t.Context())
		waiting := g.call(ctx, b)
		synctest.Wait()
		cancel() // it can, after all
		<-waiting
		synctest.Wait()
		b = g.wantLeases(g.update(done(b, 0)), 1)
		if b, took = wait(b); took != 15*time.Second {
			t.Errorf("a call takes %s again", took)
		}
		b = g.wantLeases(g.update(done(b, 0)), 0)
		if _, took = wait(b); took != 15*time.Second {
			t.Errorf("with nothing in hand, a call takes %s", took)
		}
	})
}
