package sched

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

// needs reads what needing writes.
func needs(carried []queue.Property) (r Resources) {
	for _, p := range carried {
		n, _ := strconv.ParseInt(p.Value, 10, 64)
		switch p.Name {
		case "cpus":
			r.CPUs = n
		case "memory":
			r.Memory = n
		}
	}
	return r
}

func needing(cpus, memory int64) []queue.Property {
	return []queue.Property{prop("cpus", fmt.Sprint(cpus)), prop("memory", fmt.Sprint(memory))}
}

func withNeeds(o *Options) { o.Needs = needs }

// needy returns a submission that needs so many CPUs.
func needy(name string, cpus int64) Submission {
	x := sub(name)
	x.Carried = needing(1000*cpus, 0)
	return x
}

func (g *grid) roomy(id string, capacity int, cpus, memory int64) *Session {
	g.t.Helper()
	return g.open(Bot{
		Instance: instance, BotID: id, Capacity: capacity, Properties: linux, Local: true,
		Has: Resources{CPUs: 1000 * cpus, Memory: memory},
	})
}

func TestAWorkerIsGivenNoMoreThanItHas(t *testing.T) {
	inBubble(t, withNeeds, func(t *testing.T, g *grid) {
		ses := g.roomy("b", 8, 4, 100)
		both := sub("both")
		both.Carried = needing(1000, 60)
		g.submit(both)
		first := g.lease(ses)
		again := sub("again")
		again.Carried = both.Carried
		waits := g.submit(again) // there are CPUs, but not the memory
		g.submit(needy("small", 3))
		small := g.lease(ses)
		g.submit(sub("no needs"))
		g.done(ses, g.lease(ses)) // counts as a slot only
		g.idle(ses)
		if have, want := g.get(waits).WaitReason, "no worker has 1 CPU and 60 B of memory free, position 1"; have != want {
			t.Errorf("it waits because %q, want %q", have, want)
		}
		before := g.log.count()
		g.done(ses, first)
		if l := g.lease(ses); l.Job.Command != "run again" || g.log.count() != before+1 {
			t.Errorf("got %q, after %d commands; want the room in the command that frees it", l.Job.Command, g.log.count()-before)
		}
		g.done(ses, small)
	})
}

func TestWhatACancelledLeaseHasIsGivenToOthersWhenItEnded(t *testing.T) {
	inBubble(t, withNeeds, func(t *testing.T, g *grid) {
		ses := g.roomy("b", 8, 4, 0)
		name := g.submit(needy("first", 4))
		l := g.lease(ses)
		g.submit(needy("second", 4))
		if err := g.Cancel(context.Background(), name); err != nil {
			t.Fatal(err)
		}
		if e := g.next(ses); e.Cancelled != l.Job.ID {
			t.Fatalf("event %+v", e)
		}
		g.idle(ses)
		ses.Ended(func(string) bool { return false })
		if l := g.lease(ses); l.Job.Command != "run second" {
			t.Errorf("got %q", l.Job.Command)
		}
	})
}

// What needs room goes where it leaves the smallest hole; the others as ever.
func TestActionsThatNeedRoomArePacked(t *testing.T) {
	inBubble(t, withNeeds, func(t *testing.T, g *grid) {
		unknown := g.bot("unknown", 32)
		large, small := g.roomy("large", 16, 16, 0), g.roomy("small", 4, 4, 0)
		for i := range 4 {
			g.submit(needy(fmt.Sprint(i), 1))
			g.lease(small)
		}
		g.submit(needy("16", 16))
		g.lease(large)
		g.submit(needy("17", 16))
		g.lease(unknown)
		g.submit(sub("free"))
		g.lease(large)
	})
}

func TestAnActionThatNeedsMoreThanAnyWorkerHasSaysSo(t *testing.T) {
	inBubble(t, func(o *Options) { withNeeds(o); o.UnmatchableGrace = time.Minute }, func(t *testing.T, g *grid) {
		g.roomy("small", 2, 2, 0)
		g.roomy("b", 2, 8, 32<<30)
		x := sub("a")
		x.Carried = needing(1500, 64<<30)
		name := g.submit(x)
		if g.get(name).Stage != queue.Executing {
			t.Error("a worker that does not say what memory it has may have as much")
		}
		big := g.submit(needy("b", 9))
		want := "no worker has 9 CPUs; the largest, worker b, has 8 CPUs and 32 GiB of memory"
		if have := g.get(big).WaitReason; have != want {
			t.Errorf("it waits because %q\nwant %q", have, want)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		st := g.get(big)
		if s := st.Response.GetStatus(); code.Code(s.GetCode()) != code.Code_FAILED_PRECONDITION {
			t.Errorf("after the grace: done %t, %v", st.Done, s)
		}
	})
}

func TestAReshapedRoomIsMatchedAnew(t *testing.T) {
	inBubble(t, withNeeds, func(t *testing.T, g *grid) {
		ses := g.roomy("b", 2, 2, 0)
		g.submit(needy("a", 4))
		g.idle(ses)
		ses.SetRoom(Resources{CPUs: 4000})
		g.lease(ses)
		ses.SetRoom(Resources{CPUs: 1000}) // it keeps what it has
		g.submit(needy("b", 1))
		g.idle(ses)
	})
}

// TestALargeActionIsNotStarved: small ones never end to come, and never leave
// enough at once. After the patience a worker is kept for the large one, and the
// others go on, there as far as they fit beside it.
func TestALargeActionIsNotStarved(t *testing.T) {
	const took = 2 * time.Second
	for _, workers := range []int{1, 3} {
		t.Run(fmt.Sprint(workers, " workers"), func(t *testing.T) {
			inBubble(t, withNeeds, func(t *testing.T, g *grid) {
				ctx, cancel := context.WithCancel(context.Background())
				var wg sync.WaitGroup
				for i := range workers {
					g.work(ctx, g.roomy(fmt.Sprint("w", i), 16, 8, 0), &wg)
				}
				smallEnded := 0
				var mu sync.Mutex
				for client := range 8 * workers {
					wg.Go(func() {
						time.Sleep(time.Duration(client) * 90 * time.Millisecond)
						for i := 0; ctx.Err() == nil; i++ {
							w, err := g.Watch(ctx, g.submit(needy(fmt.Sprint(client, " ", i), 2)))
							for st := (*State)(nil); err == nil && (st == nil || !st.Done); {
								st, err = w.Next(ctx)
							}
							mu.Lock()
							smallEnded++
							mu.Unlock()
						}
					})
				}
				time.Sleep(10 * time.Second)
				var large []string
				for i := range 3 {
					large = append(large, g.submit(needy(fmt.Sprint("large ", i), 7)))
				}
				time.Sleep(g.o.RoomPatience + 3*took + time.Second)
				for i, name := range large {
					if !g.get(name).Done {
						t.Errorf("large action number %d is not done by then", i)
					}
				}
				mu.Lock()
				before := smallEnded
				mu.Unlock()
				time.Sleep(5 * time.Second)
				mu.Lock()
				if smallEnded < before+5*2*workers {
					t.Errorf("then only %d small ones ended in 5 s", smallEnded-before)
				}
				mu.Unlock()
				cancel()
				wg.Wait()
			})
		})
	}
}

func TestAKeptWorkerTakesWhatFitsBeside(t *testing.T) {
	inBubble(t, withNeeds, func(t *testing.T, g *grid) {
		ses := g.roomy("b", 16, 8, 0)
		g.submit(needy("long", 4))
		long := g.lease(ses)
		large := g.submit(needy("large", 6))
		time.Sleep(g.o.RoomPatience)
		g.submit(needy("one", 1))
		g.submit(needy("two", 1))
		g.lease(ses)
		one := g.lease(ses)
		if have, want := g.get(large).WaitReason, "worker b is kept free for it until it has room, position 1"; have != want {
			t.Errorf("the large one waits because %q, want %q", have, want)
		}
		third := g.submit(needy("three", 1)) // there are CPUs for it now, but then not for the large one
		g.idle(ses)
		if have, want := g.get(third).WaitReason, "worker b is kept free for an action that needs more, position 1"; have != want {
			t.Errorf("the third waits because %q, want %q", have, want)
		}
		for i := range 12 {
			g.submit(sub(fmt.Sprint("only a slot ", i)))
			g.lease(ses)
		}
		g.submit(needy("another large", 6)) // has not waited for long yet
		g.done(ses, long)
		if l := g.lease(ses); l.Job.Command != "run large" {
			t.Errorf("got %q", l.Job.Command)
		}
		g.idle(ses)
		g.done(ses, one)
		if l := g.lease(ses); l.Job.Command != "run three" {
			t.Errorf("got %q", l.Job.Command)
		}
	})
}

// A worker that cannot take the large one after all is given back to the others.
func TestAWorkerIsKeptNoLongerThanNeeded(t *testing.T) {
	inBubble(t, withNeeds, func(t *testing.T, g *grid) {
		ses := g.roomy("b", 4, 8, 0)
		g.submit(needy("long", 6))
		g.lease(ses)
		large := g.submit(needy("large", 8))
		time.Sleep(g.o.RoomPatience)
		small := g.submit(needy("small", 1))
		g.idle(ses)
		if g.get(small).Stage != queue.Queued {
			t.Fatal("the worker is not kept")
		}
		if err := g.Cancel(context.Background(), large); err != nil {
			t.Fatal(err)
		}
		if l := g.lease(ses); l.Job.Command != "run small" {
			t.Errorf("got %q", l.Job.Command)
		}
	})
}

// Keeping a worker for one action must not leave another beside a free one.
func TestWhatAKeptWorkerDoesNotTakeGoesElsewhere(t *testing.T) {
	inBubble(t, withNeeds, func(t *testing.T, g *grid) {
		b := g.roomy("b", 16, 8, 0)
		g.submit(needy("on b", 3))
		g.lease(b)
		a := g.roomy("a", 16, 32, 0)
		g.submit(needy("on a", 28))
		g.lease(a)
		large := g.submit(needy("large", 30))
		time.Sleep(g.o.RoomPatience)
		g.submit(needy("small", 3)) // fits a best
		g.lease(b)
		if have, want := g.get(large).WaitReason, "worker a is kept free for it until it has room, position 1"; have != want {
			t.Errorf("the large one waits because %q, want %q", have, want)
		}
	})
}

// Patience does not turn the order around.
func TestNoWorkerIsKeptForWhatWouldNotBeNext(t *testing.T) {
	inBubble(t, withNeeds, func(t *testing.T, g *grid) {
		ses := g.roomy("b", 16, 8, 0)
		g.submit(needy("long", 4))
		g.lease(ses)
		large := needy("large", 8)
		large.Priority = 1
		g.submit(large)
		time.Sleep(2 * g.o.RoomPatience)
		for i := range 4 {
			g.submit(needy(fmt.Sprint(i), 1))
			g.lease(ses)
		}
	})
}
