package bots

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/node/sched"
)

// call is one call of a bot that has its session's turn.
type call struct {
	*service
	*session
	*report
}

// run takes over the report, waits while there is nothing new to tell, and
// answers.
func (c *call) run(ctx context.Context) (*botspb.BotSession, error) {
	arrived := time.Now()
	c.noteEnds(len(c.ended))
	c.open.Reshape(c.properties, c.capacity)
	c.open.Refuse(c.refusal())
	if err := c.open.Heartbeat(); err != nil {
		return nil, err
	}
	c.open.Ended(func(job string) bool { return c.has[job] != nil })
	if err := c.settle(ctx); err != nil {
		return nil, err
	}
	leases, err := c.leases(ctx)
	if err != nil {
		return nil, err
	}
	if !c.differs(leases) {
		if c.terminating() && len(leases) == 0 {
			return c.goodbye(ctx)
		}
		if leases, err = c.wait(ctx, leases, c.patience(ctx, arrived, len(leases))); err != nil {
			return nil, err
		}
	}
	if err := c.verify(ctx, leases); err != nil {
		return nil, err
	}
	return c.reply(ctx, leases), nil
}

// verify lets a reply tell the bot to drop what it works on only while this node
// leads: what another node assigned since then would be killed.
func (c *call) verify(ctx context.Context, leases []lease) error {
	kept := 0
	for _, l := range leases {
		if l.sent {
			kept++
		}
	}
	if c.o.Verify == nil || kept == len(c.has) {
		return nil
	}
	if err := c.o.Verify(ctx); err != nil {
		return refused(codes.Unavailable, "the leader changes: repeat the call")
	}
	return nil
}

// goodbye closes the session of a bot that leaves with nothing in hand.
func (c *call) goodbye(ctx context.Context) (*botspb.BotSession, error) {
	if err := c.open.Close(ctx, "the worker left"); err != nil {
		return nil, err
	}
	c.forget(c.session)
	return c.reply(ctx, nil), nil
}

// lease is one that the bot should have, and the message that says so.
type lease struct {
	sched.Lease
	message *botspb.Lease
	sent    bool // the bot listed it: the message is its own
}

// leases returns all that the bot should have, by job. One whose action cannot be
// read ends here, and then others may have taken its place.
func (c *call) leases(ctx context.Context) ([]lease, error) {
	for {
		var all []lease
		again := false
		for _, l := range c.open.Take() {
			if listed := c.has[l.Job.ID]; listed != nil {
				listed.State = botspb.LeaseState_ACTIVE
				c.takeStreams(l, listed)
				all = append(all, lease{l, listed, true})
				continue
			}
			message, err := c.newLease(ctx, l)
			if err != nil {
				return nil, err
			}
			if message == nil {
				again = true
				continue
			}
			all = append(all, lease{l, message, false})
		}
		if !again {
			slices.SortFunc(all, func(a, b lease) int { return strings.Compare(a.Job.ID, b.Job.ID) })
			return all, nil
		}
	}
}

// differs tells whether the bot has to do something about the leases: it listed
// others, or reported some as ended.
func (c *call) differs(leases []lease) bool {
	if len(leases) != len(c.bot.Leases) {
		return true
	}
	return slices.ContainsFunc(leases, func(l lease) bool { return !l.sent })
}

// reply completes the bot's own message. What the reply carries is known to have
// left when the bot quotes its version.
func (c *call) reply(ctx context.Context, leases []lease) *botspb.BotSession {
	next := make(map[string]told, len(leases))
	changed := len(leases) != len(c.told)
	for _, l := range leases {
		t, known := c.told[l.Job.ID]
		switch {
		case !known || t.attempt != l.Attempt, t.version == before && !l.sent:
			t, changed = told{attempt: l.Attempt, version: c.session.version + 1}, true
		case t.version == before:
			t.version = before + 1 // the bot itself says that it has it
		}
		next[l.Job.ID] = t
	}
	if changed {
		c.session.version++
	}
	c.told = next

	c.bot.Leases = make([]*botspb.Lease, len(leases))
	for i, l := range leases {
		c.bot.Leases[i] = l.message
	}
	c.bot.Version = strconv.FormatInt(c.session.version, 10)
	c.bot.ExpireTime = timestamppb.New(time.Now().Add(c.o.Expiry))
	sendMetadata(ctx, leases)
	return c.bot
}
