package sched

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bgrid-node/bgrid-node/store/queue"
	"google.golang.org/genproto/googleapis/rpc/code"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
)

// chaos is one random history: bots that fail, drop out and take over, clients
// that merge and cancel, and restarts of the node, in virtual time.
type chaos struct {
	*grid
	seed uint64

	mu     sync.Mutex
	names  map[string]string // operation to command
	handed map[string]int    // how often each attempt of a job was handed out
}

// histories is how many of them one run tries.
const histories = 30

// TestRandomHistories checks what must hold whatever happens: each job completes
// exactly once, no attempt is held twice, no worker has more than its slots, and
// nothing waits for ever.
func TestRandomHistories(t *testing.T) {
	seeds := []uint64{39, 29931694061472443} // put one that failed here to see it again
	for len(seeds) < histories {
		seeds = append(seeds, rand.Uint64())
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			dir := fastDir(t)
			synctest.Test(t, func(t *testing.T) {
				c := &chaos{seed: seed, names: map[string]string{}, handed: map[string]int{}}
				c.grid = newGrid(t, dir, func(o *Options) {
					o.MaxAttempts, o.MaxLosses, o.Needs, o.RoomPatience = 1000, 1000, needs, 3*time.Second
				})
				defer c.grid.close()
				for round := range seed%4 + 1 {
					if round > 0 {
						c.restart()
					}
					c.round(round)
				}
				c.settle()
			})
		})
	}
}

// round lets clients and bots do as they like for a while.
func (c *chaos) round(n uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i := range uint64(4) {
		r := rand.New(rand.NewPCG(c.seed, n<<8|i))
		wg.Go(func() { c.client(ctx, r) })
	}
	for i := range uint64(3) {
		r := rand.New(rand.NewPCG(c.seed, n<<8|i|128))
		wg.Go(func() { c.bots(ctx, r, i) })
	}
	wg.Wait()
	synctest.Wait()
	c.invariants()
}

func (c *chaos) client(ctx context.Context, r *rand.Rand) {
	for range 15 {
		x := of(fmt.Sprint("inv", r.IntN(3)), fmt.Sprint(r.IntN(12)))
		x.Priority = int32(r.IntN(3))
		x.DoNotCache = r.IntN(5) == 0
		if r.IntN(2) == 0 {
			x.Carried = needing(1000*r.Int64N(7), 30*r.Int64N(4))
		}
		name, joined, err := c.Join(ctx, x)
		if err == nil && !joined {
			name, err = c.Submit(ctx, x)
		}
		if err != nil {
			c.fail("submit: %v", err)
			return
		}
		c.mu.Lock()
		c.names[name] = x.Command
		c.mu.Unlock()
		pause(ctx, r, 3*time.Second)
		if r.IntN(6) == 0 {
			if err := c.Cancel(ctx, name); err != nil {
				c.fail("cancel: %v", err)
			}
		}
	}
}

// bots is the life of one bot: session after session under one id.
func (c *chaos) bots(ctx context.Context, r *rand.Rand, i uint64) {
	held := map[string]int32{} // what it still works on
	has := Resources{CPUs: []int64{0, 4000, 8000}[i], Memory: 100 * int64(r.IntN(2))}
	for ctx.Err() == nil {
		b := Bot{Instance: instance, BotID: fmt.Sprint("bot", i), Capacity: 1 + int(i), Properties: linux, Local: i == 0, Has: has}
		b.Leases = slices.Collect(maps.Keys(held))
		ses, err := c.OpenSession(ctx, b)
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				c.fail("open: %v", err)
			}
			return
		}
		kept := map[string]int32{}
		for _, l := range ses.Leases() {
			if attempt, ok := held[l.Job.ID]; ok && attempt == l.Attempt {
				kept[l.Job.ID] = attempt
			}
		}
		held = kept
		c.session(ctx, r, ses, held)
		switch r.IntN(4) {
		case 0:
			_ = ses.Close(context.WithoutCancel(ctx), "leaves")
			clear(held)
		case 1: // crashes, and is back at once
			clear(held)
		case 2: // loses its session only
		case 3: // silent, perhaps beyond its expiry
			pause(ctx, r, 50*time.Second)
		}
	}
}

// session works for a while on what it has and gets.
func (c *chaos) session(ctx context.Context, r *rand.Rand, ses *Session, held map[string]int32) {
	sums := map[string]Resources{}
	for _, l := range ses.Leases() {
		sums[l.Job.ID] = c.o.Needs(l.Job.Carried)
	}
	for range 4 + r.IntN(20) {
		poll, cancel := context.WithTimeout(ctx, time.Duration(1+r.IntN(2000))*time.Millisecond)
		e, err := ses.Next(poll)
		cancel()
		switch {
		case err == io.EOF:
			return
		case err != nil:
		case e.Assigned != nil:
			held[e.Assigned.Job.ID] = e.Assigned.Attempt
			if len(held) > int(ses.row.Capacity) {
				c.fail("%s has %d leases in %d slots", ses.row.BotID, len(held), ses.row.Capacity)
			}
			sums[e.Assigned.Job.ID] = c.o.Needs(e.Assigned.Job.Carried)
			var sum Resources
			for id := range held {
				sum = sum.plus(sums[id])
			}
			if ses.has.CPUs > 0 && sum.CPUs > ses.has.CPUs || ses.has.Memory > 0 && sum.Memory > ses.has.Memory {
				c.fail("%s has leases of %v in %v", ses.row.BotID, sum, ses.has)
			}
			c.taken(e.Assigned)
		default:
			id := e.Cancelled
			if r.IntN(2) == 0 { // killed, and says so
				_ = ses.Complete(ctx, Completion{JobID: id, Attempt: held[id], Status: &statuspb.Status{Code: int32(code.Code_CANCELLED)}})
			} else {
				pause(ctx, r, 2*c.o.CancelGrace)
			}
			delete(held, id)
		}
		for id, attempt := range held {
			if r.IntN(3) > 0 {
				continue
			}
			done := Completion{JobID: id, Attempt: attempt, Result: result()}
			if r.IntN(4) == 0 {
				done = Completion{JobID: id, Attempt: attempt, Status: &statuspb.Status{Code: int32(code.Code_UNAVAILABLE)}}
			}
			if err := ses.Complete(context.WithoutCancel(ctx), done); err != nil {
				c.fail("complete: %v", err)
			}
			delete(held, id)
		}
	}
}

// taken notes a lease: an attempt leaves the scheduler once in the life of its
// session.
func (c *chaos) taken(l *Lease) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := fmt.Sprint(l.Job.ID, " ", l.Attempt)
	if c.handed[key]++; c.handed[key] > 1 {
		c.fail("attempt %s was handed out %d times", key, c.handed[key])
	}
}

// invariants holds when nothing is under way: no promise is left, the mirror is
// what the store has, and no job waits beside a free slot that it could have.
func (c *chaos) invariants() {
	s := c.Scheduler
	rows, _, err := c.store.Unfinished(context.Background())
	if err != nil {
		c.fail("%v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.holds)+len(s.outbox)+len(s.submitting)+len(s.opening)+len(s.settling) > 0 {
		c.fail("promises are left: %d holds, %d errands, %d submissions, %d openings", len(s.holds), len(s.outbox), len(s.submitting), len(s.opening))
	}
	if len(rows) != len(s.jobs) {
		c.fail("the mirror has %d jobs, the store %d", len(s.jobs), len(rows))
	}
	needy := 0
	for _, j := range s.jobs {
		if j.waiting() && j.class.need.some() {
			needy++
		}
	}
	if needy != s.needy {
		c.fail("%d waiting jobs need room, by the count %d", needy, s.needy)
	}
	for _, row := range rows {
		j := s.jobs[row.ID]
		if j == nil || !reflect.DeepEqual(j.row, row) {
			c.fail("job %s differs from the store's", row.ID)
			continue
		}
		if row.Stage == queue.Queued != j.waiting() || j.waiting() == (j.lease != nil) {
			c.fail("job %s: stage %v, waiting %t, lease %v", row.ID, row.Stage, j.waiting(), j.lease)
		}
		if j.waiting() && j.class.idle() != nil {
			c.fail("job %s waits beside a free slot", row.ID)
		}
		if row.Stage == queue.Queued && s.reasonOf(j).String() == "" {
			c.fail("job %s does not say why it waits", row.ID)
		}
	}
	for _, ses := range s.sessions {
		var used Resources
		for _, l := range ses.leases {
			used = used.plus(l.share.need)
		}
		for _, l := range ses.lingering {
			used = used.plus(l.share.need)
		}
		if used != ses.used || !(Resources{}).fits(used, ses.has) {
			c.fail("session of %s: uses %v of %v, by its own count %v", ses.row.BotID, used, ses.has, ses.used)
		}
		if k := ses.kept.class; k != nil && (k.keeper != ses || k.queue.len() == 0) {
			c.fail("session of %s is kept for nobody", ses.row.BotID)
		}
		if ses.reserved != 0 || len(ses.leases) > ses.capacity() {
			c.fail("session of %s: %d promised, %d leases in %d slots", ses.row.BotID, ses.reserved, len(ses.leases), ses.capacity())
		}
	}
}

// settle has a fresh worker finish all, then checks that each operation ended
// once with an end of its own.
func (c *chaos) settle() {
	ctx, cancel := context.WithCancel(context.Background())
	// Of the local bot nobody will hear again, and it is not dead to the node.
	c.open(Bot{Instance: instance, BotID: "bot0", Capacity: 1, Properties: []queue.Property{prop("none", "")}, Local: true})
	ses := c.open(Bot{Instance: instance, BotID: "last", Capacity: 4, Properties: linux, Local: true})
	var wg sync.WaitGroup
	c.work(ctx, ses, &wg)
	for name, command := range c.names {
		w, err := c.Watch(ctx, name)
		if err != nil {
			c.fail("watch %s: %v", name, err)
			continue
		}
		limit, stop := context.WithTimeout(ctx, time.Hour)
		var st *State
		for st == nil || !st.Done {
			if st, err = w.Next(limit); err != nil {
				c.fail("%s waits for ever: %v", name, err)
				break
			}
		}
		stop()
		w.Close()
		if err != nil {
			continue
		}
		switch have := code.Code(st.Response.GetStatus().GetCode()); {
		case st.Job.Command != command:
			c.fail("%s ended as %q, was %q", name, st.Job.Command, command)
		case have != code.Code_OK && have != code.Code_CANCELLED:
			c.fail("%s ended with %v", name, st.Response.Status)
		}
	}
	cancel()
	wg.Wait()
	synctest.Wait()
	c.invariants()
	if n := c.Totals(); len(c.jobs)+len(c.ops)+len(c.inflight) > 0 {
		c.fail("something is left in the mirror: %+v", n)
	}
	for d, n := range c.cache.puts {
		if n > len(c.names) {
			c.fail("%s was cached %d times", d, n)
		}
	}
}

func (c *chaos) fail(format string, args ...any) {
	c.grid.t.Errorf("seed %d: "+format, append([]any{c.seed}, args...)...)
}

func pause(ctx context.Context, r *rand.Rand, most time.Duration) {
	select {
	case <-time.After(time.Duration(r.Int64N(int64(most)))):
	case <-ctx.Done():
	}
}
