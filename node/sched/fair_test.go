package sched

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

// work runs a bot that takes a second for each action, until ctx ends.
func (g *grid) work(ctx context.Context, ses *Session, wg *sync.WaitGroup) {
	wg.Go(func() {
		for {
			e, err := ses.Next(ctx)
			if err != nil {
				return
			}
			if e.Assigned == nil {
				continue
			}
			wg.Go(func() {
				select {
				case <-time.After(time.Second):
					g.done(ses, e.Assigned)
				case <-ctx.Done():
				}
			})
		}
	})
}

// build submits actions of an invocation at once, and returns how long they took.
func (g *grid) build(t *testing.T, invocation string, n int) time.Duration {
	start := time.Now()
	names := make([]string, n)
	for i := range n {
		names[i] = g.submit(of(invocation, fmt.Sprint(invocation, i)))
	}
	for _, name := range names {
		follow(t, g, name)
	}
	return time.Since(start)
}

// A small build beside a huge one is at most twice as long as alone, and a second.
func TestASmallBuildIsNotHeldUpByAHugeOne(t *testing.T) {
	dir := fastDir(t)
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t, dir, nil)
		defer g.close()
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		g.work(ctx, g.open(Bot{Instance: instance, BotID: "b", Capacity: 8, Properties: linux, Local: true}), &wg)
		alone := g.build(t, "alone", 20)
		if alone != 3*time.Second {
			t.Errorf("20 actions on 8 slots take %v alone", alone)
		}
		var clients sync.WaitGroup
		for client := range 40 {
			clients.Go(func() {
				for i := range 250 {
					g.submit(of("huge", fmt.Sprint("huge ", client, " ", i)))
				}
			})
		}
		clients.Wait()
		for _, after := range []time.Duration{10500 * time.Millisecond, 60 * time.Second} {
			time.Sleep(after)
			took := g.build(t, fmt.Sprint("small after ", after), 20)
			t.Logf("alone %v, beside the huge one %v", alone, took)
			if took > 2*alone+time.Second {
				t.Errorf("it took %v, alone %v", took, alone)
			}
		}
		cancel()
		wg.Wait()
	})
}

// lineUp returns a scheduler that is only a ledger, and a queue on it.
func lineUp() (*Scheduler, *fairOrder) {
	s := &Scheduler{ledger: ledger{accounts: map[string]*account{}}}
	return s, &fairOrder{ledger: &s.ledger}
}

// take removes the job that goes first, as dispatch does.
func (s *Scheduler) take(o *fairOrder) *job {
	j := o.head()
	if j.lane != nil {
		s.ledger.charge(j.lane.account, len(j.lane.level.lanes))
	}
	o.remove(j)
	return j
}

func (s *Scheduler) job(account string) *job {
	s.seq++
	return &job{seq: s.seq, account: account, row: &queue.Job{ID: fmt.Sprint(s.seq)}}
}

// An endless row of invocations of one job each, as a compiler cache makes them,
// must not starve an invocation that has many.
func TestNewcomersDoNotStarveAnOldInvocation(t *testing.T) {
	s, o := lineUp()
	for range 100 {
		o.push(s.job("old"))
	}
	served, last, gap := 0, 0, 0
	for i := range 400 {
		for range 2 { // always more than can be served
			o.push(s.job(fmt.Sprint("new", s.seq)))
		}
		if s.take(o).account == "old" {
			served++
			gap = max(gap, i-last)
			last = i
		}
	}
	t.Logf("the old invocation got %d of 400, with at most %d others between", served, gap)
	if served < 3 {
		t.Errorf("the old invocation got %d of 400", served)
	}
}

// Who could not be served for long does not get everything at once afterwards.
func TestWaitingInVainSavesNothingUp(t *testing.T) {
	s, o := lineUp()
	stuck := &fairOrder{ledger: &s.ledger} // no worker takes these
	for range 100 {
		stuck.push(s.job("stuck"))
		o.push(s.job("busy"))
	}
	for range 90 {
		s.take(o)
	}
	for stuck.len() > 0 { // now one does
		j := stuck.head()
		stuck.remove(j)
		o.push(j)
	}
	row := 0
	for s.take(o).account == "stuck" {
		row++
	}
	if row > 10 {
		t.Errorf("it got %d jobs in a row", row)
	}
}

func TestEqualsTakeTurns(t *testing.T) {
	s, o := lineUp()
	for range 4 {
		o.push(s.job("a"))
	}
	for range 3 {
		o.push(s.job("b"))
	}
	var have string
	for o.len() > 0 {
		have += s.take(o).account
	}
	if diff := cmp.Diff("abababa", have); diff != "" {
		t.Errorf("turns (-want +have):\n%s", diff)
	}
}

// The order keeps its books: nothing is lost, each is what take then plays, and
// priorities hold, whatever is pushed, removed and taken.
func TestTheOrderKeepsItsBooks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, o := lineUp()
		in := map[*job]bool{}
		pick := func() *job {
			var ids []*job
			o.each(func(j *job) bool { ids = append(ids, j); return true })
			return rapid.SampledFrom(ids).Draw(t, "job")
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				j := s.job(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "account"))
				j.row.Priority = rapid.Int32Range(-1, 1).Draw(t, "priority")
				j.row.Front = rapid.Bool().Draw(t, "front")
				o.push(j)
				in[j] = true
			},
			"remove": func(t *rapid.T) {
				if o.len() == 0 {
					t.Skip()
				}
				j := pick()
				o.remove(j)
				delete(in, j)
			},
			"come back": func(t *rapid.T) { // an old job, to the front
				if o.len() == 0 {
					t.Skip()
				}
				j := pick()
				o.remove(j)
				row := *j.row
				row.Front = true
				j.row = &row
				o.push(j)
			},
			"raise": func(t *rapid.T) { // the row changes before it is taken out
				if o.len() == 0 {
					t.Skip()
				}
				j := pick()
				row := *j.row
				row.Priority--
				j.row = &row
				o.remove(j)
				o.push(j)
			},
			"take": func(t *rapid.T) {
				if o.len() == 0 {
					t.Skip()
				}
				var first *job
				o.each(func(j *job) bool { first = j; return false })
				if have := s.take(o); have != first {
					t.Fatalf("took %s, each said %s", have.row.ID, first.row.ID)
				} else {
					delete(in, have)
				}
			},
			"": func(t *rapid.T) {
				var seen []*job
				o.each(func(j *job) bool { seen = append(seen, j); return true })
				if len(seen) != len(in) || o.len() != len(in) {
					t.Fatalf("each shows %d, len is %d, want %d", len(seen), o.len(), len(in))
				}
				waiting := 0
				for _, a := range s.ledger.accounts {
					waiting += a.jobs
				}
				lanes := 0
				for i, j := range seen {
					if !in[j] || !j.waiting() {
						t.Fatalf("job %s is shown, but not in", j.row.ID)
					}
					if j.lane != nil {
						lanes++
					}
					if i > 0 && (seen[i-1].row.Priority > j.row.Priority ||
						seen[i-1].row.Priority == j.row.Priority && !seen[i-1].row.Front && j.row.Front) {
						t.Fatalf("job %s comes after one that is less urgent", j.row.ID)
					}
				}
				if waiting != lanes {
					t.Fatalf("the ledger counts %d, %d wait", waiting, lanes)
				}
				if len(o.levels) > len(in) {
					t.Fatal("an empty level is kept")
				}
			},
		})
	})
}
