package bots

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/genproto/googleapis/rpc/code"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"

	"github.com/bgrid-node/bgrid-node/node/sched"
)

// settle ends the leases that the bot reports as ended, or no longer lists. After
// an error the bot reports the same again.
func (c *call) settle(ctx context.Context) error {
	var ends []func() error
	for _, l := range c.open.Take() {
		if end := c.endOf(ctx, l); end != nil {
			ends = append(ends, end)
		}
	}
	return together(ends)
}

// endOf decides what becomes of a lease of the session: nil when the bot keeps
// it, or is sent it again.
func (c *call) endOf(ctx context.Context, l sched.Lease) func() error {
	id := l.Job.ID
	seen := c.saw(l)
	if done, ok := c.ended[id]; ok {
		if c.versioned && !seen {
			return nil // it ended an earlier attempt: this one it has yet to be sent
		}
		done.Attempt = l.Attempt
		return func() error { return c.open.Complete(ctx, done) }
	}
	switch {
	case c.has[id] != nil:
		return nil
	case c.terminating(), c.refusal() != "" && !seen:
		return func() error { return c.open.GiveBack(ctx, id, l.Attempt, "the worker takes no work: "+c.refusal()) }
	case seen && c.told[id].version != before && c.versioned:
		return func() error {
			return c.open.Complete(ctx, sched.Completion{JobID: id, Attempt: l.Attempt, Status: &statuspb.Status{
				Code: int32(code.Code_UNAVAILABLE), Message: "the worker no longer has it",
			}})
		}
	}
	return nil
}

// saw tells whether the bot knows this attempt: it saw the reply that first
// carried it, or a later one.
func (c *call) saw(l sched.Lease) bool {
	t, ok := c.told[l.Job.ID]
	return ok && t.attempt == l.Attempt && t.version <= c.report.version
}

// together does all at once, so that they share a commit.
func together(all []func() error) error {
	if len(all) == 1 {
		return all[0]()
	}
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, do := range all {
		wg.Go(func() { errs[i] = do() })
	}
	wg.Wait()
	return errors.Join(errs...)
}
