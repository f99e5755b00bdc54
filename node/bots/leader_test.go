package bots

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// quoting returns b as if a leader whose clock is ahead by that much had answered.
func quoting(b *botspb.BotSession, ahead time.Duration, replies int64) *botspb.BotSession {
	b.Version = strconv.FormatInt(time.Now().Add(ahead).UnixMicro()+replies, 10)
	return b
}

// TestTheClockOfTheNextLeaderMayBeBehind loses the reply by which the next leader hands
// out a lease: the bot goes on quoting a version of the leader before.
func TestTheClockOfTheNextLeaderMayBeBehind(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Hour, 0, time.Microsecond, time.Second, 24 * time.Hour} {
		inBubble(t, func(t *testing.T, g *grid) {
			b := g.create(bot("b", 1))
			g.restart()
			op := g.submit("a")
			quoted := quoting(b, ahead, 0).Version
			first := g.wantLeases(g.update(b), 1)
			for _, replies := range []int64{0, 1, 1000} { // which came late
				again := g.wantLeases(g.update(quoting(b, ahead, replies)), 1)
				if again.Version != first.Version || again.Version <= quoted {
					t.Errorf("%v ahead: version %s, then %s, after %s", ahead, first.Version, again.Version, quoted)
				}
				b.Leases = nil
			}
			g.wantStage(op, queue.Executing, 0)
			g.update(without(first, 0)) // it saw it, and has it no more
			g.wantStage(op, queue.Executing, 1)
		})
	}
}

func TestOnlyALeaderTellsABotToDropALease(t *testing.T) {
	g := newGrid(t)
	g.submit("a")
	theirs := g.wantLeases(g.create(bot("other", 1)), 1)
	asked := 0
	g.verify = func() error { asked++; return errors.New("it does not lead") }
	g.wantLeases(g.update(theirs), 1)
	g.wantLeases(g.update(done(theirs, 0)), 0)
	b := g.create(bot("b", 1))
	if asked != 0 {
		t.Errorf("it was asked %d times for nothing", asked)
	}
	b.Leases = theirs.Leases // of the next leader, for all that this one knows
	if _, err := g.tryUpdate(glance, b); status.Code(err) != codes.Unavailable || asked != 1 {
		t.Errorf("asked %d times: %v", asked, err)
	}
	g.verify = nil
	g.wantLeases(g.update(b), 0)
}

func TestAVersionThatNobodyGaveOutIsRefused(t *testing.T) {
	g := newGrid(t)
	b := g.create(bot("b", 1))
	b.Version = "9223372036854775807"
	_, err := g.tryUpdate(glance, b)
	wantInvalid(t, err, "bot_session.version")
}
