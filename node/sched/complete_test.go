package sched

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/rpc/code"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

func result() *repb.ActionResult { return &repb.ActionResult{StdoutRaw: []byte("out")} }

func TestWhatACompletionMeans(t *testing.T) {
	failed := result()
	failed.ExitCode = 3
	garbled := result()
	garbled.OutputFiles = []*repb.OutputFile{{Path: "\xff"}}
	for _, c := range []struct {
		rule     string
		status   code.Code
		result   *repb.ActionResult
		noCache  bool
		requeued bool
		ends     code.Code
		cached   bool
	}{
		{rule: "success is cached", result: result(), cached: true},
		{rule: "a failed action is not cached", result: failed},
		{rule: "do_not_cache is obeyed", result: result(), noCache: true},
		{rule: "OK without a result is refused", requeued: true},
		{rule: "INTERNAL is tried again", status: code.Code_INTERNAL, requeued: true},
		{rule: "UNAVAILABLE is tried again", status: code.Code_UNAVAILABLE, result: result(), requeued: true},
		{rule: "every other code is final", status: code.Code_NOT_FOUND, ends: code.Code_NOT_FOUND},
		{rule: "a time-out keeps what there is", status: code.Code_DEADLINE_EXCEEDED, result: result(), ends: code.Code_DEADLINE_EXCEEDED},
		{rule: "a result that cannot be encoded ends the job", result: garbled, ends: code.Code_INTERNAL},
	} {
		t.Run(c.rule, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, g *grid) {
				ses := g.bot("b", 1)
				x := sub("a")
				x.DoNotCache = c.noCache
				name := g.submit(x)
				g.complete(ses, g.lease(ses), c.status, c.result)
				st := g.get(name)
				if c.requeued {
					if l := g.lease(ses); l.Attempt != 2 || l.Job.Failures != 1 {
						t.Errorf("attempt %d after %d failures, want the second after one", l.Attempt, l.Job.Failures)
					}
				} else if have := code.Code(st.Response.GetStatus().GetCode()); !st.Done || have != c.ends {
					t.Errorf("done %t with %v, want %v", st.Done, have, c.ends)
				}
				if have := g.cache.has(x.Action); have != c.cached {
					t.Errorf("cached: %t, want %t", have, c.cached)
				}
				if c.result != nil && c.result != garbled && !c.requeued && string(st.Response.GetResult().GetStdoutRaw()) != "out" {
					t.Errorf("the result is lost: %v", st.Response)
				}
			})
		})
	}
}

func TestFiveFailuresEndInAbortedWithTheHistory(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		name := g.submit(sub("a"))
		var ses *Session
		for i := range 5 {
			if i == 3 { // the count is durable
				g.restart()
			}
			ses = g.bot(fmt.Sprint("bot", i), 1)
			g.complete(ses, g.lease(ses), code.Code_INTERNAL, nil)
			if i < 4 {
				l := g.lease(ses)
				if l.Attempt != int32(2*i+2) { // Close below is an attempt too
					t.Fatalf("attempt %d, want %d", l.Attempt, 2*i+2)
				}
				if err := ses.Close(context.Background(), "leaves"); err != nil {
					t.Fatal(err)
				}
			}
		}
		st := g.get(name)
		message := st.Response.GetStatus().GetMessage()
		if code.Code(st.Response.GetStatus().GetCode()) != code.Code_ABORTED {
			t.Fatalf("response is %v, want ABORTED", st.Response)
		}
		for i := range 5 {
			if line := fmt.Sprintf("attempt %d on bot%d: INTERNAL: told by bot%d", 2*i+1, i, i); !strings.Contains(message, line) {
				t.Errorf("message %q lacks %q", message, line)
			}
		}
		if st.Job.Failures != 4 || st.Job.Losses != 4 || st.Job.Attempt != 9 {
			t.Errorf("%d failures and %d losses in %d attempts, want 4 before the last, 4, 9", st.Job.Failures, st.Job.Losses, st.Job.Attempt)
		}
		g.idle(ses)
	})
}

func TestALargeResponseIsABlob(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		ses := g.bot("b", 1)
		name := g.submit(sub("a"))
		big := &repb.ActionResult{StdoutRaw: bytes.Repeat([]byte("x"), maxInLog)}
		g.complete(ses, g.lease(ses), code.Code_OK, big)
		st := g.get(name)
		if st.Job.ResponseBlob == (digest.Digest{}) || len(st.Job.Response) > 0 {
			t.Errorf("the log carries %d bytes, want a digest", len(st.Job.Response))
		}
		if n := len(st.Response.GetResult().GetStdoutRaw()); n != maxInLog {
			t.Errorf("%d bytes came back", n)
		}
		g.blobs.mu.Lock()
		g.blobs.data = nil
		g.blobs.mu.Unlock()
		if _, err := g.Get(context.Background(), name); !errors.Is(err, cas.ErrNotFound) {
			t.Errorf("get without the blob: %v", err)
		}
	})
}

func TestAStaleCompletionChangesNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		first := g.bot("b", 1)
		name := g.submit(sub("a"))
		old := g.lease(first)
		second := g.bot("b", 1) // the bot was restarted, and lost the job
		l := g.lease(second)
		g.done(first, old)
		g.complete(second, &Lease{Job: l.Job, Attempt: 1}, code.Code_OK, result())
		if st := g.get(name); st.Stage != queue.Executing || st.Job.Attempt != 2 {
			t.Fatalf("stage %v in attempt %d, want the second attempt to go on", st.Stage, st.Job.Attempt)
		}
		g.done(second, l)
		g.done(second, l)
		if n := g.cache.puts[action("a")]; n != 1 {
			t.Errorf("the result was written %d times", n)
		}
	})
}

func TestTimesThatTheServerKnowsAreSet(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		ses := g.bot("b", 1)
		name := g.submit(sub("a"))
		r := result()
		g.complete(ses, g.lease(ses), code.Code_OK, r)
		m := g.get(name).Response.GetResult().GetExecutionMetadata()
		if m.GetQueuedTimestamp() == nil || m.GetWorkerStartTimestamp() == nil || m.GetWorkerCompletedTimestamp() == nil || m.GetWorker() != "b" {
			t.Errorf("metadata is %v", m)
		}
		if r.ExecutionMetadata != nil {
			t.Error("the worker's own message was changed")
		}
	})
}

func TestAFullActionCacheDoesNotKeepAnActionFromEnding(t *testing.T) {
	full := true
	room := func() error {
		if full {
			return &cas.FullError{Reason: "no room"}
		}
		return nil
	}
	inBubble(t, func(o *Options) { o.CacheRoom = room }, func(t *testing.T, g *grid) {
		ses := g.bot("b", 1)
		for i, name := range []string{"a", "b"} {
			op := g.submit(sub(name))
			g.done(ses, g.lease(ses))
			if st := g.get(op); !st.Done || len(st.Response.GetResult().GetStdoutRaw()) == 0 {
				t.Errorf("%s: done %t, %v", name, st.Done, st.Response)
			}
			if have := g.cache.has(action(name)); have != (i > 0) {
				t.Errorf("%s: cached %t", name, have)
			}
			full = false
		}
	})
}
