package worker

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

const (
	active = botspb.LeaseState_ACTIVE
	ended  = botspb.LeaseState_COMPLETED
)

func TestAResultIsKeptUntilItIsAcknowledged(t *testing.T) {
	inScript(t, func(t *testing.T, s *script) {
		s.open(assigned("a", 1))
		s.start("a", 1)
		done := s.complete("a", 1, codes.OK)
		for _, code := range []codes.Code{codes.Unavailable, codes.DeadlineExceeded, codes.Internal} {
			c := s.report("a")
			if !pending(done) {
				t.Error("it is taken to be acknowledged")
			}
			c.fail(code)
		}
		c := s.report("a")
		result := new(repb.ActionResult)
		if err := c.bot.Leases[0].Result.UnmarshalTo(result); err != nil || result.ExitCode != 3 {
			t.Errorf("result %v, %v", result, err)
		}
		c.reply(2)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestTheEndOfALeaseEndsAWaitingCall(t *testing.T) {
	inScript(t, func(t *testing.T, s *script) {
		s.open(assigned("a", 1), assigned("b", 1))
		s.event()
		s.event()
		waiting := s.next()
		start := time.Now()
		done := s.complete("a", 1, codes.OK)
		report := s.next()
		if waiting.ctx.Err() == nil || time.Since(start) > 0 {
			t.Errorf("the waiting call ended with %v after %s", waiting.ctx.Err(), time.Since(start))
		}
		other := s.complete("b", 1, codes.OK)
		if pending(other); report.ctx.Err() != nil {
			t.Error("a call that carries a result was ended")
		}
		report.reply(2, assigned("b", 1))
		<-done
		s.report("b").reply(3)
		<-other
		if err := <-s.complete("b", 1, codes.OK); err != nil { // what is not held is nobody's business
			t.Error(err)
		}
	})
}

func TestALeaseThatIsNotListedIsKilled(t *testing.T) {
	inScript(t, func(t *testing.T, s *script) {
		s.open(assigned("a", 1), assigned("b", 1))
		s.event()
		s.event()
		s.next().reply(2, assigned("b", 1))
		if e := s.event(); e.Cancelled != "a" {
			t.Errorf("event %+v, want that a is cancelled", e)
		}
		if err := <-s.complete("a", 1, codes.Canceled); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(map[string]botspb.LeaseState{"b": active}, s.next().states()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWhatRunsGoesOnWhileTheServerIsAway(t *testing.T) {
	inScript(t, func(t *testing.T, s *script) {
		s.open(assigned("a", 1))
		s.start("a", 1)
		start := time.Now()
		for range 100 {
			s.next().fail(codes.Unavailable)
		}
		if took := time.Since(start); took < 100*time.Second || took > 300*time.Second {
			t.Errorf("100 tries within %s", took)
		}
		c := s.next()
		if c.create || c.bot.Version != "1" || len(c.bot.Leases) != 1 {
			t.Errorf("it comes back with %v", c.bot)
		}
		c.reply(2, assigned("a", 1)) // and is told what it knows
		again := s.next()
		synctest.Wait()
		if len(s.link.events) != 0 {
			t.Errorf("events %+v, want none", s.link.events)
		}
		again.reply(2, assigned("a", 1))
	})
}

func TestALostSessionIsOpenedAgainWithItsLeases(t *testing.T) {
	inScript(t, func(t *testing.T, s *script) {
		s.open(assigned("a", 1), assigned("b", 1))
		s.event()
		s.event()
		done := s.complete("b", 1, codes.OK)
		c := s.report("b")
		c.fail(codes.InvalidArgument)
		c = s.next()
		if diff := cmp.Diff(map[string]botspb.LeaseState{"a": active, "b": ended}, c.states()); diff != "" || !c.create || c.bot.BotId != "w1" || c.bot.Version != "" {
			t.Errorf("it opens %v: %s", c.bot, diff)
		}
		c.reply(7, assigned("a", 1))
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestANewerAttemptTakesThePlaceOfAnOlder(t *testing.T) {
	inScript(t, func(t *testing.T, s *script) {
		s.open(assigned("a", 1))
		s.start("a", 1)
		done := s.complete("a", 1, codes.Unavailable)
		c := s.report("a")
		c.reply(2, assigned("a", 2))
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.start("a", 2)
		if c := s.next(); c.states()["a"] != active || attemptOf(c.bot.Leases[0]) != 2 {
			t.Errorf("it reports %v", c.bot.Leases)
		}
	})
}

func TestALeavingWorkerFinishesFirst(t *testing.T) {
	inScript(t, func(t *testing.T, s *script) {
		s.open(assigned("a", 1))
		s.start("a", 1)
		s.next()
		s.link.terminate()
		c := s.next()
		if c.bot.Status != botspb.BotStatus_BOT_TERMINATING || c.states()["a"] != active {
			t.Errorf("it says %v", c.bot)
		}
		s.complete("a", 1, codes.OK)
		s.report("a").reply(2)
		if c = s.next(); len(c.bot.Leases) != 0 || c.bot.Status != botspb.BotStatus_BOT_TERMINATING {
			t.Errorf("its last word is %v", c.bot)
		}
		c.reply(2)
		if err := <-s.ended; err != nil {
			t.Error(err)
		}
		if _, err := s.link.Next(t.Context()); err != io.EOF {
			t.Errorf("next: %v, want io.EOF", err)
		}
	})
}

func TestALastWordIsNotRepeatedForEver(t *testing.T) {
	inScript(t, func(t *testing.T, s *script) {
		s.open()
		s.next()
		s.link.terminate()
		start := time.Now()
		for {
			select {
			case c := <-s.calls:
				c.fail(codes.Unavailable)
				continue
			case err := <-s.ended:
				if took := time.Since(start); err != nil || took < farewell || took > 2*farewell {
					t.Errorf("it left after %s with %v", took, err)
				}
			}
			return
		}
	})
}

func TestAbandonedLeasesAreNotListed(t *testing.T) {
	inScript(t, func(t *testing.T, s *script) {
		s.open(assigned("a", 1))
		s.start("a", 1)
		s.next()
		s.link.abandon()
		if c := s.next(); len(c.bot.Leases) != 0 || c.bot.Status != botspb.BotStatus_BOT_TERMINATING {
			t.Errorf("it says %v", c.bot)
		}
	})
}

func TestWhatAServerWillNeverTakeIsAnError(t *testing.T) {
	for code, text := range map[codes.Code]string{codes.InvalidArgument: "told by the test", codes.Unimplemented: "does not serve workers"} {
		inScript(t, func(t *testing.T, s *script) {
			s.next().fail(code)
			if err := <-s.ended; status.Code(err) != code || !strings.Contains(err.Error(), text) {
				t.Errorf("got %v, want %v: %s", err, code, text)
			}
		})
	}
}

func TestAWorkerOnWhichEverythingFailsRests(t *testing.T) {
	inScript(t, func(t *testing.T, s *script) {
		s.open(assigned("0", 1))
		for i := range failuresInRow {
			job := string(rune('0' + i))
			s.start(job, 1)
			s.complete(job, 1, codes.Unavailable)
			c := s.report(job)
			if i == failuresInRow-1 {
				if c.bot.Status != botspb.BotStatus_UNHEALTHY {
					t.Errorf("after %d failures it is %v", i+1, c.bot.Status)
				}
				c.reply(2)
				break
			}
			if c.bot.Status != botspb.BotStatus_OK {
				t.Errorf("after %d failures it is %v", i+1, c.bot.Status)
			}
			c.reply(2, assigned(string(rune('1'+i)), 1))
		}
		time.Sleep(firstRest)
		s.link.tellHealth() // as watchDisk does
		c := s.next()
		for c.ctx.Err() != nil {
			c = s.next()
		}
		if c.bot.Status != botspb.BotStatus_OK {
			t.Errorf("after its rest it is %v", c.bot.Status)
		}
	})
}

func TestAFullDiskIsTold(t *testing.T) {
	inScript(t, func(t *testing.T, s *script) {
		s.open()
		s.next()
		for _, c := range []struct {
			free int64
			want botspb.BotStatus
		}{
			{leastFree - 1, botspb.BotStatus_UNHEALTHY},
			{leastFree + 1, botspb.BotStatus_UNHEALTHY},
			{2 * leastFree, botspb.BotStatus_OK},
		} {
			s.link.setFull(c.free < leastFree, c.free)
			s.link.tellHealth()
			if said := s.next(); said.bot.Status != c.want {
				t.Errorf("with %d bytes free it is %v, want %v", c.free, said.bot.Status, c.want)
			}
		}
	})
}

func TestLargeResultsGoInSeveralCalls(t *testing.T) {
	inScript(t, func(t *testing.T, s *script) {
		s.open(assigned("a", 1), assigned("b", 1))
		s.event()
		s.event()
		for _, job := range []string{"a", "b"} {
			go func() {
				_ = s.link.Complete(t.Context(), runners.Completion{LeaseID: job, Attempt: 1, Result: &repb.ActionResult{StdoutRaw: make([]byte, 2<<20)}})
			}()
		}
		synctest.Wait()
		c := s.next()
		for c.ctx.Err() != nil || len(c.states()) != 2 {
			c = s.next()
		}
		first := c.states()
		if (first["a"] == ended) == (first["b"] == ended) {
			t.Errorf("one call carries %v, want one of the results", first)
		}
		left := "a"
		if first["a"] == ended {
			left = "b"
		}
		c.reply(2, assigned(left, 1))
		if c = s.next(); c.states()[left] != ended {
			t.Errorf("the next carries %v", c.states())
		}
	})
}

func TestWhatALeaseSays(t *testing.T) {
	action := &repb.Action{
		Timeout:  durationpb.New(time.Minute),
		Platform: &repb.Platform{Properties: []*repb.Platform_Property{{Name: "runner", Value: "x"}}},
	}
	payload, err := anypb.New(action)
	if err != nil {
		t.Fatal(err)
	}
	name := digest.Of(digest.SHA256, payload.Value)
	named, err := anypb.New(name.Proto())
	if err != nil {
		t.Fatal(err)
	}
	full := &botspb.Worker{
		Properties: []*botspb.Worker_Property{{Key: "runner", Value: "y"}},
		Configs:    []*botspb.Worker_Config{{Key: "action", Value: name.String()}, {Key: "attempt", Value: "4"}, {Key: "timeout", Value: "7000000000"}},
	}
	for _, c := range []struct {
		rule string
		m    *botspb.Lease
		want *runners.Lease
	}{
		{"this project's server", &botspb.Lease{Payload: payload, Requirements: full}, &runners.Lease{
			Attempt: 4, ActionBytes: payload.Value, Action: name, Timeout: 7 * time.Second, Properties: []runners.Property{{Name: "runner", Value: "y"}},
		}},
		{"another, with the action", &botspb.Lease{Payload: payload}, &runners.Lease{
			ActionBytes: payload.Value, Action: name, Timeout: time.Minute, Properties: []runners.Property{{Name: "runner", Value: "x"}},
		}},
		{"another, with its digest", &botspb.Lease{Payload: named}, &runners.Lease{Action: name}},
		{"neither", &botspb.Lease{Payload: &anypb.Any{TypeUrl: "x/y"}}, nil},
		{"nothing", &botspb.Lease{}, nil},
	} {
		have, err := readLease("job", c.m, "main")
		if c.want == nil {
			if failure := new(runners.Failure); !errors.As(err, &failure) {
				t.Errorf("%s: %v, %v", c.rule, have, err)
			}
			continue
		}
		c.want.ID, c.want.Instance = "job", "main"
		if diff := cmp.Diff(c.want, have); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +have):\n%s", c.rule, err, diff)
		}
	}
}

func TestAContentThatIsReadFromItsStartCanBeSought(t *testing.T) {
	opened := 0
	open := func() (io.ReadCloser, error) {
		opened++
		return io.NopCloser(strings.NewReader("0123456789")), nil
	}
	first, _ := open()
	r := &rewinder{ReadCloser: first, open: open}
	for _, c := range []struct {
		offset int64
		want   string
		opened int
	}{{3, "34", 1}, {7, "78", 1}, {2, "23", 2}, {0, "01", 3}} {
		if _, err := r.Seek(c.offset, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 2)
		if _, err := io.ReadFull(r, buf); err != nil || string(buf) != c.want || opened != c.opened {
			t.Errorf("at %d: %q, %v, opened %d times", c.offset, buf, err, opened)
		}
	}
	if _, err := r.Seek(11, io.SeekStart); err == nil {
		t.Error("sought beyond the end")
	}
}
