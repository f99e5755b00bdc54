package bots

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

func TestALostReplyIsSentAgain(t *testing.T) {
	g := newGrid(t)
	b := g.create(bot("b", 1))
	op := g.submit("a")
	lost := g.wantLeases(g.update(b), 1)
	for range 3 {
		again := g.wantLeases(g.update(b), 1)
		if again.Leases[0].Id != lost.Leases[0].Id || again.Version != lost.Version || again.Leases[0].Payload == nil {
			t.Errorf("sent again: %v, want the same as in %v", again, lost)
		}
	}
	g.wantStage(op, queue.Executing, 0)
}

func TestAnOmittedLeaseIsNoticed(t *testing.T) {
	g := newGrid(t)
	op := g.submit("a")
	b := g.wantLeases(g.create(bot("b", 1)), 1)
	b = g.update(without(b, 0)) // at the version that carried it
	g.wantLeases(g.update(b), 1)
	g.wantStage(op, queue.Executing, 1)
}

func TestALeaseOfWhichTheBotCannotKnowIsNotMissed(t *testing.T) {
	g := newGrid(t)
	op := g.submit("a")
	b := g.create(bot("b", 1))
	for _, version := range []string{"", "1"} {
		b := without(b, 0)
		b.Version = version
		g.wantLeases(g.update(b), 1)
	}
	g.wantStage(op, queue.Executing, 0)
}

func TestACompletionCountsOnce(t *testing.T) {
	g := newGrid(t)
	op, other := g.submit("a"), ""
	b := g.wantLeases(g.create(bot("b", 1)), 1)
	report := done(b, 0)
	g.update(report) // the reply is lost
	other = g.submit("b")
	next := g.wantLeases(g.update(g.update(report)), 1)
	if !g.state(op).Done || g.state(op).Job.Attempt != 1 {
		t.Error("the first did not end")
	}
	g.update(report) // an old call, late
	if g.state(other).Done {
		t.Error("a report of one job ended another")
	}
	g.wantLeases(g.update(next), 1)
	g.wantStage(other, queue.Executing, 0)
}

func TestTheEndOfAnEarlierAttemptIsIgnored(t *testing.T) {
	g := newGrid(t)
	op := g.submit("a")
	first := g.wantLeases(g.create(bot("b", 1)), 1)
	second := g.wantLeases(g.update(g.update(without(first, 0))), 1) // attempt 2
	stale := g.wantLeases(g.update(done(first, 0)), 1)
	if g.state(op).Done || stale.Leases[0].State != botspb.LeaseState_ACTIVE || stale.Leases[0].Payload == nil {
		t.Errorf("the end of attempt 1 ended attempt 2, or that is not sent again: %v", stale)
	}
	g.wantLeases(g.update(done(second, 0)), 0)
	if st := g.state(op); !st.Done || st.Job.Attempt != 2 {
		t.Errorf("done %t in attempt %d", st.Done, st.Job.Attempt)
	}
}

func TestLeasesThatTheSessionLacksAreDropped(t *testing.T) {
	g := newGrid(t)
	g.submit("a")
	theirs := g.wantLeases(g.create(bot("other", 1)), 1)
	b := g.create(bot("b", 2))
	b.Leases = append(b.Leases, theirs.Leases...)
	b.Leases = append(b.Leases, &botspb.Lease{Id: "nonsense", State: botspb.LeaseState_ACTIVE}, done(theirs, 0).Leases[0])
	g.wantLeases(g.update(b), 0)
	g.wantLeases(g.update(theirs), 1)
}

func TestARestartOfTheServerChangesNothing(t *testing.T) {
	for _, c := range []struct {
		rule string
		says func(b *botspb.BotSession) *botspb.BotSession
		want int
		done bool
	}{
		{"it still has the lease", func(b *botspb.BotSession) *botspb.BotSession { return b }, 1, false},
		{"it has ended the lease", func(b *botspb.BotSession) *botspb.BotSession { return done(b, 0) }, 0, true},
		{"it never got the lease", func(b *botspb.BotSession) *botspb.BotSession { return without(b, 0) }, 1, false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			g := newGrid(t)
			op := g.submit("a")
			b := g.wantLeases(g.create(bot("b", 1)), 1)
			g.restart()
			after := g.wantLeases(g.update(c.says(b)), c.want)
			if len(after.Version) < len(b.Version) || after.Version < b.Version {
				t.Errorf("version %s after %s", after.Version, b.Version)
			}
			if !c.done {
				g.wantStage(op, queue.Executing, 0)
				g.wantLeases(g.update(done(after, 0)), 0)
			}
			if st := g.state(op); !st.Done || st.Job.Attempt != 1 {
				t.Errorf("done %t in attempt %d", st.Done, st.Job.Attempt)
			}
		})
	}
}

func TestALeaseLostOverARestartIsNoticedOnceItWasSentAgain(t *testing.T) {
	g := newGrid(t)
	op := g.submit("a")
	b := without(g.wantLeases(g.create(bot("b", 1)), 1), 0)
	g.restart()
	b = without(g.wantLeases(g.update(b), 1), 0)
	g.update(b)
	if st := g.state(op); st.Job.Failures != 1 {
		t.Errorf("%d failures, want 1", st.Job.Failures)
	}
}

func TestANewShapeCountsAfterARestart(t *testing.T) {
	g := newGrid(t)
	b := bot("b", 1)
	b.Worker.Devices[0].Properties[0].Value = "plan9"
	b = g.create(b)
	b.Worker.Devices[0].Properties[0].Value = "linux"
	b = g.update(b)
	g.restart()
	g.submit("a")
	g.wantLeases(g.update(b), 1)
}

func TestASilentBotLosesItsLeases(t *testing.T) {
	inBubble(t, func(t *testing.T, g *grid) {
		op := g.submit("a")
		b := g.wantLeases(g.create(bot("b", 1)), 1)
		time.Sleep(29 * time.Second)
		g.wantStage(op, queue.Executing, 0)
		b = g.update(b)
		time.Sleep(29 * time.Second)
		g.wantStage(op, queue.Executing, 0)
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		g.wantStage(op, queue.Queued, 1)
		_, err := g.tryUpdate(glance, b)
		wantInvalid(t, err, "is not open: create a new one")
		fresh := proto.CloneOf(b)
		fresh.Name, fresh.Version = "", ""
		g.wantLeases(g.create(fresh), 0) // its lease is not its own any more
	})
}
