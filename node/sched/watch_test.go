package sched

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/code"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

func (g *grid) watch(name string) *Watch {
	g.t.Helper()
	w, err := g.Watch(context.Background(), name)
	if err != nil {
		g.t.Fatal(err)
	}
	return w
}

// told returns the next state of a watch in short.
func told(t *testing.T, w *Watch) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	st, err := w.Next(ctx)
	switch {
	case err != nil:
		return err.Error()
	case st.Done:
		return fmt.Sprintf("done on %s: %v", st.Worker, code.Code(st.Response.GetStatus().GetCode()))
	case st.Stage == queue.Executing:
		return "executing on " + st.Worker
	}
	return "queued: " + st.WaitReason
}

func TestAWatchTellsEachChangeThenEOF(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		name := g.submit(sub("a"))
		w := g.watch(name)
		defer w.Close()
		have := []string{told(t, w)}
		ses := g.bot("b", 1)
		have = append(have, told(t, w))
		l := g.lease(ses)
		g.complete(ses, l, code.Code_UNAVAILABLE, nil)
		l = g.lease(ses) // before anyone looks
		have = append(have, told(t, w))
		g.done(ses, l)
		have = append(have, told(t, w), told(t, w), told(t, w))
		want := []string{
			"queued: no worker is connected; it must offer OSFamily=linux", "executing on b", "executing on b", "done on b: OK", "EOF", "EOF",
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("told (-want +have):\n%s", diff)
		}
		late := g.watch(name)
		defer late.Close()
		if diff := cmp.Diff([]string{"done on b: OK", "EOF"}, []string{told(t, late), told(t, late)}); diff != "" {
			t.Errorf("a late watch is told (-want +have):\n%s", diff)
		}
	})
}

func TestAWatchOfACancelledOperationEndsAlone(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		first, second := g.submit(sub("a")), g.submit(sub("a"))
		a, b := g.watch(first), g.watch(second)
		told(t, a)
		told(t, b)
		g.cancelOp(first)
		if have := told(t, a); have != "done on : CANCELLED" {
			t.Errorf("told %q", have)
		}
		ses := g.bot("b", 1)
		g.done(ses, g.lease(ses))
		if have := told(t, b); have != "done on b: OK" {
			t.Errorf("the other is told %q", have)
		}
		if have := told(t, g.watch(first)); have != "done on b: CANCELLED" && have != "done on : CANCELLED" {
			t.Errorf("a late watch is told %q", have)
		}
	})
}

func TestWatchingWhatIsNotThere(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		for _, name := range []string{"main/none", "none", "", "main/"} {
			if _, err := g.Watch(context.Background(), name); !errors.Is(err, ErrNotFound) {
				t.Errorf("watch %q: %v", name, err)
			}
		}
		name := g.Finished(sub("a"), nil).Name
		w := g.watch(name)
		if have := told(t, w) + ", " + told(t, w); have != "done on : OK, EOF" {
			t.Errorf("an answer from the cache is told as %q", have)
		}
		time.Sleep(11 * time.Minute)
		if _, err := g.Get(context.Background(), name); !errors.Is(err, ErrNotFound) {
			t.Errorf("after its time: %v", err)
		}
	})
}

func TestAWatchEndsWithItsContext(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		w := g.watch(g.submit(sub("a")))
		told(t, w)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() {
			_, err := w.Next(ctx)
			ended <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		w.Close()
		w.Close()
		if _, err := w.Next(context.Background()); err != io.EOF {
			t.Errorf("next of a closed watch: %v", err)
		}
		if g.watching != 0 {
			t.Errorf("%d watches are counted, none is open", g.watching)
		}
	})
}

// A waiting client must cost next to nothing here: its stream is dear enough.
func TestAWaitingWatchIsSmall(t *testing.T) {
	g := newGrid(t, fastDir(t), nil)
	defer g.close()
	const n = 10_000
	names := make([]string, 0, n)
	for range n / 100 {
		name := g.submit(sub("a"))
		names = append(names, name)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	watches := make([]*Watch, 0, n)
	for i := range n {
		w := g.watch(names[i%len(names)])
		if _, err := w.Next(context.Background()); err != nil {
			t.Fatal(err)
		}
		watches = append(watches, w)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n; each > 2048 {
		t.Errorf("a watch takes %d bytes, at most 2048 are good", each)
	}
	runtime.KeepAlive(watches)
}

func TestWatchersHearOfNewReasons(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		ses := g.bot("b", 1)
		g.submit(sub("first"))
		l := g.lease(ses)
		g.submit(sub("second"))
		w := g.watch(g.submit(sub("third")))
		have := []string{told(t, w)}
		g.done(ses, l)
		have = append(have, told(t, w))
		if err := ses.Close(context.Background(), "leaves"); err != nil {
			t.Fatal(err)
		}
		have = append(have, told(t, w))
		want := []string{
			"queued: the only slot is busy, position 2", "queued: the only slot is busy, position 1",
			"queued: no worker is connected; it must offer OSFamily=linux",
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("told (-want +have):\n%s", diff)
		}
	})
}

// Far back in a long queue not every step is news.
func TestAPositionIsNewsWhenItMovedByATenth(t *testing.T) {
	busy := func(position int) reason { return reason{kind: allBusy, slots: 8, position: position} }
	for _, c := range []struct {
		old, now reason
		news     bool
	}{
		{busy(1000), busy(901), false},
		{busy(1000), busy(900), true},
		{busy(2), busy(1), true},
		{busy(7), busy(7), false},
		{busy(7), reason{kind: allBusy, slots: 9, position: 7}, true},
		{busy(7), reason{kind: noWorker, what: "x"}, true},
		{reason{kind: noWorker, what: "x"}, reason{kind: noWorker, what: "y"}, true},
	} {
		if have := c.now.news(c.old); have != c.news {
			t.Errorf("%v after %v: news %t", c.now, c.old, have)
		}
	}
}
