package sched

import (
	"testing"

	"google.golang.org/genproto/googleapis/rpc/code"
)

func TestStreamsAreThoseOfThePresentAttempt(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		name := g.submit(sub("a"))
		ses := g.bot("b", 1)
		first := g.lease(ses)
		w := g.watch(name)
		defer w.Close()
		told(t, w)
		want := func(out, errs string) {
			t.Helper()
			if st := g.get(name); st.StdoutStream != out || st.StderrStream != errs {
				t.Errorf("streams %q and %q, want %q and %q", st.StdoutStream, st.StderrStream, out, errs)
			}
		}
		if !ses.Streams(first.Job.ID, first.Attempt, "out", "err") {
			t.Error("refused")
		}
		want("out", "err")
		if have := told(t, w); have != "executing on b" { // who watches is told
			t.Error(have)
		}
		ses.Streams(first.Job.ID, first.Attempt, "out", "err") // nothing new: the watch is told of what comes next only
		g.complete(ses, first, code.Code_UNAVAILABLE, nil)
		second := g.lease(ses)
		want("", "")
		if ses.Streams(first.Job.ID, first.Attempt, "late", "late") {
			t.Error("an earlier attempt has streams")
		}
		ses.Streams(second.Job.ID, second.Attempt, "", "")
		want("", "")
		ses.Streams(second.Job.ID, second.Attempt, "out2", "err2")
		want("out2", "err2")
		ses.Streams(second.Job.ID, second.Attempt, "", "")
		want("", "")
		g.done(ses, second)
		want("", "")
		if ses.Streams(second.Job.ID, second.Attempt, "late", "late") {
			t.Error("a lease that ended has streams")
		}
	})
}
