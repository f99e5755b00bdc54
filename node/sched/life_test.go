package sched

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"

	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

func TestARestartKeepsTheQueue(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		names := map[string]bool{}
		for i := range 5 {
			x := sub(fmt.Sprint(i))
			x.Priority = int32(-i)
			names[g.submit(x)] = true
		}
		merged, joined, err := g.Join(context.Background(), sub("3"))
		if err != nil || !joined {
			t.Fatal(joined, err)
		}
		gone := g.submit(sub("gone"))
		if err := g.Cancel(context.Background(), gone); err != nil {
			t.Fatal(err)
		}
		g.restart()
		ses := g.bot("b", 2)
		for i := range 5 {
			l := g.lease(ses)
			if want := fmt.Sprint("run ", 4-i); l.Job.Command != want {
				t.Errorf("got %q, want %q", l.Job.Command, want)
			}
			g.done(ses, l)
		}
		g.idle(ses)
		for name := range names {
			if st := g.get(name); !st.Done || string(st.Response.GetResult().GetStdoutRaw()) != st.Job.Command {
				t.Errorf("%s is %v", name, st)
			}
		}
		if st := g.get(merged); !st.Done || st.Job.Command != "run 3" {
			t.Errorf("the merged operation is %v", st)
		}
	})
}

func TestARemoteSessionHasOneExpiryToComeBackAfterARestart(t *testing.T) {
	for _, c := range []struct {
		rule  string
		comes bool
	}{{"it comes back in time, and nothing is run twice", true}, {"it stays away, and its job is run again", false}} {
		t.Run(c.rule, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, g *grid) {
				ses := g.bot("far", 1)
				running, waiting := g.submit(sub("running")), g.submit(sub("waiting"))
				l := g.lease(ses)
				time.Sleep(29 * time.Second)
				g.restart()
				time.Sleep(29 * time.Second) // a full one, not what was left
				for _, name := range []string{running, waiting} {
					if have, want := g.get(name).WaitReason, "waiting for worker far to return"; have != want {
						t.Errorf("reason %q, want %q", have, want)
					}
				}
				if !c.comes {
					time.Sleep(2 * time.Second)
					synctest.Wait()
					st := g.get(running)
					if st.Stage != queue.Queued || st.Job.Failures != 1 || !strings.Contains(st.Job.History[0], "silent for 30s") {
						t.Errorf("stage %v after %d failures, history %q", st.Stage, st.Job.Failures, st.Job.History)
					}
					return
				}
				ses, err := g.Session(ses.ID())
				if err != nil {
					t.Fatal(err)
				}
				if have := ses.Leases(); len(have) != 1 || have[0].Job.ID != l.Job.ID || have[0].Attempt != 1 {
					t.Errorf("leases %v, want the one it had", have)
				}
				if again := g.lease(ses); again.Job.ID != l.Job.ID || again.Attempt != 1 {
					t.Errorf("handed out %v, want the same lease again: it may never have left", again)
				}
				if have := g.get(running).WaitReason; have != "" {
					t.Errorf("its worker is back, but it waits because %q", have)
				}
				g.done(ses, l)
				g.done(ses, g.lease(ses))
				if st := g.get(running); !st.Done || st.Job.Attempt != 1 {
					t.Errorf("done %t in attempt %d", st.Done, st.Job.Attempt)
				}
			})
		})
	}
}

func TestAnAwaySessionIsGivenNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		away := g.bot("away", 4)
		g.restart()
		g.submit(sub("a"))
		here := g.bot("here", 1)
		g.done(here, g.lease(here))
		name := g.submit(sub("b"))
		if l := g.lease(here); l.Job.Command != "run b" {
			t.Error(l.Job.Command)
		}
		g.submit(sub("c"))
		ses, err := g.Session(away.ID())
		if err != nil {
			t.Fatal(err)
		}
		if err := ses.Heartbeat(); err != nil {
			t.Fatal(err)
		}
		if l := g.lease(ses); l.Job.Command != "run c" {
			t.Errorf("got %q when it came back", l.Job.Command)
		}
		_ = name
	})
}

func TestALocalSessionDiesWithItsProcessAtNoFaultOfTheJob(t *testing.T) {
	inBubble(t, func(o *Options) { o.MaxLosses = 3 }, func(t *testing.T, g *grid) {
		name := g.submit(sub("a"))
		for i := range 3 {
			ses := g.open(Bot{Instance: instance, BotID: "local", Capacity: 1, Properties: linux, Local: true})
			if l := g.lease(ses); l.Attempt != int32(i+1) || l.Job.Failures != 0 || l.Job.Losses != int32(i) {
				t.Fatalf("attempt %d after %d failures and %d losses", l.Attempt, l.Job.Failures, l.Job.Losses)
			}
			g.restart()
			if _, err := g.Session(ses.ID()); !errors.Is(err, ErrUnknownBot) {
				t.Errorf("the session of the dead process: %v", err)
			}
		}
		synctest.Wait()
		st := g.get(name)
		if have := code.Code(st.Response.GetStatus().GetCode()); have != code.Code_ABORTED {
			t.Fatalf("after MaxLosses interruptions: done %t with %v, want ABORTED", st.Done, have)
		}
		if m := st.Response.Status.Message; !strings.Contains(m, "gave up after 3 attempts: attempt 1 on local: the node was restarted;") {
			t.Errorf("message %q", m)
		}
	})
}

func TestDrainWaitsForLocalLeasesOnly(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		far := g.bot("far", 1)
		g.submit(sub("far"))
		farLease := g.lease(far)
		local := g.open(Bot{Instance: instance, BotID: "local", Capacity: 2, Properties: linux, Local: true})
		g.submit(sub("local"))
		l := g.lease(local)
		g.submit(sub("second"))
		second := g.lease(local)
		g.submit(sub("queued"))
		drained := make(chan error, 1)
		go func() { drained <- g.Drain(context.Background()) }()
		synctest.Wait()
		if _, err := g.Submit(context.Background(), sub("new")); !errors.Is(err, ErrDraining) {
			t.Errorf("submit while draining: %v", err)
		}
		if _, err := g.OpenSession(context.Background(), Bot{Instance: instance, BotID: "new", Capacity: 1}); !errors.Is(err, ErrDraining) {
			t.Errorf("open while draining: %v", err)
		}
		g.done(local, l)
		g.idle(local) // the queued job is not given out
		synctest.Wait()
		select {
		case err := <-drained:
			t.Fatalf("drained (%v) while an action runs", err)
		default:
		}
		g.done(local, second)
		if err := <-drained; err != nil {
			t.Error(err)
		}
		if _, err := local.Next(context.Background()); err != io.EOF {
			t.Errorf("next of a drained session: %v, want io.EOF", err)
		}
		g.done(far, farLease) // a remote worker may still deliver
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := g.Drain(ctx); err != nil {
			t.Errorf("drain again: %v", err)
		}
	})
}

func TestDrainEndsWithItsContext(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		local := g.open(Bot{Instance: instance, BotID: "local", Capacity: 1, Properties: linux, Local: true})
		g.submit(sub("a"))
		g.lease(local)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := g.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("drain: %v", err)
		}
	})
}

// The bubble of the test fails when a goroutine is left.
func TestStopEndsAllThatWaits(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		ses := g.bot("b", 1)
		g.submit(sub("running"))
		g.lease(ses)
		name := g.submit(sub("waiting"))
		ended := make(chan error, 3)
		for range 2 {
			go func() {
				_, err := ses.Next(context.Background())
				ended <- err
			}()
		}
		go func() {
			w, err := g.Watch(context.Background(), name)
			for err == nil {
				_, err = w.Next(context.Background())
			}
			ended <- err
		}()
		synctest.Wait()
		g.Stop()
		for range 3 {
			if err := <-ended; !errors.Is(err, ErrStopped) {
				t.Errorf("ended with %v, want ErrStopped", err)
			}
		}
		g.Stop()
	})
}

func TestFinishedJobsArePruned(t *testing.T) {
	inBubble(t, func(o *Options) { o.Retention = time.Hour }, func(t *testing.T, g *grid) {
		ses := g.open(Bot{Instance: instance, BotID: "local", Capacity: 1, Properties: linux, Local: true})
		name, waiting := g.submit(sub("a")), g.submit(sub("b"))
		g.done(ses, g.lease(ses))
		time.Sleep(59 * time.Minute)
		g.get(name)
		time.Sleep(3 * time.Minute)
		if _, err := g.Get(context.Background(), name); !errors.Is(err, ErrNotFound) {
			t.Errorf("get after the retention: %v", err)
		}
		g.get(waiting)
	})
}

func TestInputsOfUnfinishedJobsAreProtected(t *testing.T) {
	protected := make(chan digest.Digest, 100)
	fail := errors.New("busy")
	first := true
	inBubble(t, func(o *Options) {
		o.Protect = func(_ context.Context, d digest.Digest) error {
			protected <- d
			if first {
				first = false
				return fail
			}
			return nil
		}
	}, func(t *testing.T, g *grid) {
		name := g.submit(sub("a"))
		synctest.Wait()
		if n := len(protected); n != 0 {
			t.Fatalf("protected %d times at once: Execute has just done it", n)
		}
		time.Sleep(46 * time.Minute)
		if n := len(protected); n != 1 {
			t.Fatalf("protected %d times in 46 minutes, want 1", n)
		}
		time.Sleep(6 * time.Minute)
		if n := len(protected); n != 2 {
			t.Fatalf("protected %d times, want it tried again soon", n)
		}
		g.restart()
		synctest.Wait()
		if n := len(protected); n != 3 {
			t.Fatalf("protected %d times, want it done at the start", n)
		}
		if err := g.Cancel(context.Background(), name); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		if n := len(protected); n != 3 {
			t.Errorf("protected %d times, want a finished job left alone", n)
		}
	})
}
