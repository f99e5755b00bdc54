package sched

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

func (g *grid) cancelOp(name string) {
	g.t.Helper()
	if err := g.Cancel(context.Background(), name); err != nil {
		g.t.Fatal(err)
	}
}

func TestCancellingTheLastOperationKills(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		ses := g.bot("b", 1)
		first := g.submit(sub("a"))
		second := g.submit(sub("a"))
		l := g.lease(ses)
		g.cancelOp(first)
		st := g.get(first)
		if s := st.Response.GetStatus(); !st.Done || code.Code(s.GetCode()) != code.Code_CANCELLED || s.GetMessage() != "Execution cancelled" {
			t.Errorf("the cancelled operation is %v", st.Response)
		}
		g.idle(ses) // someone else still waits for the job
		if st := g.get(second); st.Stage != queue.Executing {
			t.Errorf("the other operation is at %v", st.Stage)
		}
		g.cancelOp(second)
		if e := g.next(ses); e.Cancelled != l.Job.ID {
			t.Errorf("the worker is told %v, want to kill the job", e)
		}
		g.cancelOp(first)
		g.cancelOp(second)
		g.done(ses, l) // too late, and fine
		if st := g.get(second); code.Code(st.Response.GetStatus().GetCode()) != code.Code_CANCELLED {
			t.Errorf("a late completion changed the outcome: %v", st.Response)
		}
		if g.cache.has(action("a")) {
			t.Error("a late completion was cached")
		}
	})
}

func TestACancelledLeaseKeepsItsSlotUntilTheWorkerIsDone(t *testing.T) {
	for _, c := range []struct {
		rule  string
		tells bool
	}{{"it tells", true}, {"it does not, and the grace passes", false}} {
		t.Run(c.rule, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, g *grid) {
				ses := g.bot("b", 1)
				name := g.submit(sub("a"))
				l := g.lease(ses)
				g.submit(sub("b"))
				g.cancelOp(name)
				g.next(ses)
				g.idle(ses)
				start := time.Now()
				if c.tells {
					g.done(ses, l)
				}
				g.lease(ses)
				if waited := time.Since(start); c.tells != (waited == 0) || waited > g.o.CancelGrace {
					t.Errorf("the slot was free after %v", waited)
				}
			})
		})
	}
}

func TestAQueuedJobIsCancelledWithoutAnyWorker(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		name := g.submit(sub("a"))
		g.cancelOp(name)
		ses := g.bot("b", 1)
		g.idle(ses)
		again := g.submit(sub("a")) // it is not merged with what was cancelled
		g.done(ses, g.lease(ses))
		if st := g.get(again); st.Response.GetStatus() != nil {
			t.Errorf("the new operation ended with %v", st.Response.Status)
		}
	})
}

func TestALeaseThatNeverLeftIsTakenBack(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		ses := g.bot("b", 1)
		name := g.submit(sub("a"))
		g.cancelOp(name)
		g.submit(sub("b"))
		if l := g.lease(ses); l.Job.Command != "run b" {
			t.Errorf("got %q", l.Job.Command)
		}
	})
}

// The slot must not be forgotten when there is no completion to carry the next
// assignment.
func TestTheSlotOfACancelledJobGoesToWhoWaits(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		ses := g.bot("b", 1)
		name := g.submit(sub("a"))
		g.submit(sub("b"))
		g.cancelOp(name) // it never left
		if l := g.lease(ses); l.Job.Command != "run b" {
			t.Errorf("got %q", l.Job.Command)
		}
	})
}

func TestDeleteAndCancelKnowTheirOperations(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		ctx := context.Background()
		waiting, cancelled := g.submit(sub("a")), g.submit(sub("a"))
		g.cancelOp(cancelled)
		cached := g.Finished(sub("c"), nil).Name
		_, id := splitName(waiting)
		for name, want := range map[string]error{
			waiting: ErrNotDone, cancelled: nil, cached: nil, "main/none": ErrNotFound, "other/" + id: ErrNotFound, id: ErrNotFound,
		} {
			if err := g.Delete(ctx, name); !errors.Is(err, want) {
				t.Errorf("delete %s: %v, want %v", name, err, want)
			}
			if want != nil {
				continue
			}
			if _, err := g.Get(ctx, name); !errors.Is(err, ErrNotFound) {
				t.Errorf("get after delete: %v", err)
			}
		}
		for _, name := range []string{"main/none", "other/" + id, cached} {
			if err := g.Cancel(ctx, name); !errors.Is(err, ErrNotFound) {
				t.Errorf("cancel %s: %v", name, err)
			}
		}
	})
}
