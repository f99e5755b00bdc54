package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/queue"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// gate is a SyncBlobs that waits for each call to be let through, and says so.
type gate struct{ entered, pass chan error }

func newGate() *gate { return &gate{make(chan error), make(chan error)} }

func (g *gate) sync(context.Context) error {
	g.entered <- nil
	return <-g.pass
}

// propose runs Propose in a goroutine.
func propose(ctx context.Context, l *Local, es ...*commandpb.Entry) <-chan outcomeOf {
	done := make(chan outcomeOf, 1)
	go func() {
		r, err := l.Propose(ctx, es...)
		done <- outcomeOf{r, err}
	}()
	return done
}

type outcomeOf struct {
	Result
	err error
}

// isThere tells whether the job of that name was committed.
func isThere(t *testing.T, q *queue.Store, name string) bool {
	t.Helper()
	_, _, err := q.Operation(context.Background(), "op-"+name)
	if err != nil && !errors.Is(err, queue.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

// inBubble runs a test with a Local whose blobs are synced through a gate. In the
// bubble, Wait returns when all proposals are where they cannot go on.
func inBubble(t *testing.T, test func(t *testing.T, q *queue.Store, l *Local, g *gate, seen *recorder)) {
	synctest.Test(t, func(t *testing.T) {
		g, seen := newGate(), &recorder{}
		q := openQueue(t, t.TempDir())
		l := openLocal(t, LocalOptions{Queue: q, SyncBlobs: g.sync, Observer: seen.observe})
		test(t, q, l, g, seen)
	})
}

func TestProposalsThatWaitShareOneCommit(t *testing.T) {
	inBubble(t, func(t *testing.T, q *queue.Store, l *Local, g *gate, seen *recorder) {
		var done []<-chan outcomeOf
		done = append(done, propose(t.Context(), l, Submit(submission("first"))))
		<-g.entered
		const more = maxGroup + 10 // two groups
		for i := range more {
			done = append(done, propose(t.Context(), l, Submit(submission(fmt.Sprint(i)))))
		}
		synctest.Wait()
		if isThere(t, q, "first") {
			t.Error("committed before its blobs were synced")
		}
		g.pass <- nil
		for range 2 {
			<-g.entered
			g.pass <- nil
		}
		indexes := map[uint64]bool{}
		for _, d := range done {
			o := <-d
			if o.err != nil || o.Errors[0] != nil {
				t.Fatal(o.err, o.Errors)
			}
			indexes[o.Index] = true
		}
		if len(indexes) != more+1 {
			t.Errorf("%d indexes for %d commands", len(indexes), more+1)
		}
		if want := []uint64{1, 1 + maxGroup, 1 + more}; !slices.Equal(seen.indexes(), want) {
			t.Errorf("groups ended at %v, want %v", seen.indexes(), want)
		}
	})
}

func TestAProposalThatIsNotTakenYetIsWithdrawn(t *testing.T) {
	inBubble(t, func(t *testing.T, q *queue.Store, l *Local, g *gate, _ *recorder) {
		taken, giveUp := context.WithCancel(t.Context())
		first := propose(taken, l, Submit(submission("taken")))
		<-g.entered
		waiting, withdraw := context.WithCancel(t.Context())
		second := propose(waiting, l, Submit(submission("waiting")))
		synctest.Wait()
		withdraw()
		if o := <-second; !errors.Is(o.err, ErrNotProposed) || !errors.Is(o.err, context.Canceled) {
			t.Errorf("one that waited: %v", o.err)
		}
		giveUp()
		if o := <-first; errors.Is(o.err, ErrNotProposed) || !errors.Is(o.err, context.Canceled) {
			t.Errorf("one that was taken may still be applied, and was answered %v", o.err)
		}
		g.pass <- nil
		synctest.Wait()
		if !isThere(t, q, "taken") || isThere(t, q, "waiting") {
			t.Errorf("taken %t, want true; withdrawn %t, want false", isThere(t, q, "taken"), isThere(t, q, "waiting"))
		}
		if _, err := l.Propose(waiting, Submit(submission("late"))); !errors.Is(err, ErrNotProposed) {
			t.Errorf("with a context that has ended: %v", err)
		}
	})
}

func TestCloseEndsTheGroupAndRefusesWhatIsBehindIt(t *testing.T) {
	inBubble(t, func(t *testing.T, q *queue.Store, l *Local, g *gate, _ *recorder) {
		first := propose(t.Context(), l, Submit(submission("first")))
		<-g.entered
		var behind []<-chan outcomeOf
		for i := range maxGroup + 5 { // some are not even in the channel
			behind = append(behind, propose(t.Context(), l, Submit(submission(fmt.Sprint(i)))))
		}
		synctest.Wait()
		closed := make(chan error)
		go func() { closed <- l.Close() }()
		synctest.Wait()
		g.pass <- nil
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
		if o := <-first; o.err != nil || !isThere(t, q, "first") {
			t.Errorf("the group that was under way: %v", o.err)
		}
		for i, d := range behind {
			if o := <-d; !errors.Is(o.err, ErrNotProposed) || !errors.Is(o.err, ErrStopped) || isThere(t, q, fmt.Sprint(i)) {
				t.Fatalf("one behind it: %v", o.err)
			}
		}
		if _, err := l.Propose(t.Context(), Submit(submission("late"))); !errors.Is(err, ErrStopped) {
			t.Errorf("after Close: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Errorf("Close again: %v", err)
		}
	})
}

func TestAGroupThatFailsLeavesNothingAndTheNextGoesOn(t *testing.T) {
	broken := errors.New("the disk is gone")
	cache, seen := &fakeCache{}, &recorder{}
	var syncErr error
	q := openQueue(t, t.TempDir())
	l := openLocal(t, LocalOptions{Queue: q, ActionCache: cache, Observer: seen.observe,
		SyncBlobs: func(context.Context) error { return syncErr }})
	try := func(es ...*commandpb.Entry) (Result, error) { return l.Propose(t.Context(), es...) }
	if _, err := try(OpenSession(&queuepb.OpenSession{SessionId: "s"}), Submit(submission("a")),
		Assign(&queuepb.Assign{JobId: "job-a", Attempt: 1, SessionId: "s"})); err != nil {
		t.Fatal(err)
	}
	before := len(seen.kinds())
	end := Complete(completion("a", 1, "s"))

	syncErr = broken
	if _, err := try(end); !errors.Is(err, broken) || cache.applied != 0 {
		t.Errorf("blobs that cannot be synced: %v, %d results cached", err, cache.applied)
	}
	syncErr, cache.fail = nil, broken
	if _, err := try(end); !errors.Is(err, broken) || errors.Is(err, ErrNotProposed) {
		t.Errorf("an action cache that cannot be written: %v", err)
	}
	cache.fail, cache.after = nil, broken
	if _, err := try(end); !errors.Is(err, broken) {
		t.Errorf("an action cache that fails late: %v", err)
	}
	if _, j, _ := q.Operation(t.Context(), "op-a"); j.Stage != queue.Executing || len(seen.kinds()) != before {
		t.Errorf("stage %d and %d events more after three failures", j.Stage, len(seen.kinds())-before)
	}
	cache.after = nil
	r, err := try(end)
	if err != nil || r.Errors[0] != nil || r.Index != 5 { // no index twice: a store may have it
		t.Errorf("then: %+v, %v", r, err)
	}
	if cache.get("main "+actionDigest("a")) != "result of a" || l.Err() != nil {
		t.Errorf("cached %v, %v", cache.entries, l.Err())
	}
	if err := q.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestBlobsAreSyncedForWhatNamesThemOnly(t *testing.T) {
	synced := 0
	l := openLocal(t, LocalOptions{Queue: openQueue(t, t.TempDir()), SyncBlobs: func(context.Context) error { synced++; return nil }})
	for _, c := range []struct {
		e    *commandpb.Entry
		want int
	}{
		{OpenSession(&queuepb.OpenSession{SessionId: "s"}), 0},
		{Submit(submission("a")), 1},
		{Assign(&queuepb.Assign{JobId: "job-a", Attempt: 1, SessionId: "s"}), 0},
		{Complete(completion("a", 1, "s")), 1},
		{actionPut("a"), 1},
		{ActionCacheEvict(&commandpb.ActionCacheEvict{}), 0},
		{Prune(&queuepb.Prune{Limit: 1}), 0},
	} {
		synced = 0
		if _, err := l.Propose(t.Context(), c.e); err != nil || synced != c.want {
			t.Errorf("%T: synced %d times, want %d; %v", c.e.Entry, synced, c.want, err)
		}
	}
}

func TestEventsAreToldBeforeTheProposerReturns(t *testing.T) {
	seen := &recorder{}
	l := openLocal(t, LocalOptions{Queue: openQueue(t, t.TempDir()), Observer: seen.observe})
	r, err := l.Propose(t.Context(), OpenSession(&queuepb.OpenSession{SessionId: "s"}),
		Submit(&queuepb.Submit{}), Submit(submission("a")), Assign(&queuepb.Assign{JobId: "job-a", Attempt: 1, SessionId: "s"}))
	if err != nil || !errors.Is(r.Errors[1], queue.ErrMalformed) || errors.Join(r.Errors[0], r.Errors[2], r.Errors[3]) != nil {
		t.Fatal(r.Errors, err)
	}
	if want := []queue.EventKind{queue.SessionOpened, queue.JobQueued, queue.JobAssigned}; !slices.Equal(seen.kinds(), want) {
		t.Errorf("told %v, want %v", seen.kinds(), want)
	}
}

func TestAStoppedMachineSaysSoToEveryone(t *testing.T) {
	dir := t.TempDir()
	l := openLocal(t, LocalOptions{Queue: openQueue(t, dir)})
	if _, err := l.Propose(t.Context(), Submit(submission("a"))); err != nil || l.Err() != nil {
		t.Fatal(err, l.Err())
	}
	damage(t, dir, "DELETE FROM jobs")
	cancel := CancelOperation(&queuepb.CancelOperation{OperationId: "op-a"})
	if _, err := l.Propose(t.Context(), cancel); !errors.Is(err, ErrFatal) || errors.Is(err, ErrNotProposed) {
		t.Errorf("the one that found it: %v", err)
	}
	<-l.Failed()
	if !errors.Is(l.Err(), queue.ErrInconsistent) {
		t.Errorf("Err: %v", l.Err())
	}
	if _, err := l.Propose(t.Context(), cancel); !errors.Is(err, ErrNotProposed) || !errors.Is(err, ErrFatal) {
		t.Errorf("a later one: %v", err)
	}
}

func TestOpenLocalNeedsItsStores(t *testing.T) {
	if _, err := OpenLocal(t.Context(), LocalOptions{}); err == nil {
		t.Error("without stores")
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := OpenLocal(ended, LocalOptions{Queue: openQueue(t, t.TempDir()), ActionCache: &fakeCache{}}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// TestManyProposersAtOnce lets proposers and readers loose on one queue, with
// contexts that end at any moment, and closes in the middle.
func TestManyProposersAtOnce(t *testing.T) {
	dir := t.TempDir()
	q := openQueue(t, dir)
	seen := &recorder{}
	l := openLocal(t, LocalOptions{Queue: q, Observer: seen.observe, SyncBlobs: func(context.Context) error { return nil }})
	if _, err := l.Propose(t.Context(), OpenSession(&queuepb.OpenSession{SessionId: "s"})); err != nil {
		t.Fatal(err)
	}
	var acknowledged, refusedAsStopped atomic.Int64
	var wg sync.WaitGroup
	for worker := range uint64(16) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(worker, 0))
			for i := 0; ; i++ {
				name := fmt.Sprint(worker, "-", i)
				ctx, cancel := context.WithCancel(t.Context())
				if r.IntN(3) == 0 {
					go cancel()
				}
				_, err := l.Propose(ctx, Submit(submission(name)), Assign(&queuepb.Assign{JobId: "job-" + name, Attempt: 1, SessionId: "s"}))
				cancel()
				there := isThere(t, q, name)
				switch {
				case errors.Is(err, ErrStopped):
					refusedAsStopped.Add(1)
					return
				case errors.Is(err, ErrNotProposed) && there:
					t.Errorf("%s was applied though %v", name, err)
				case err == nil && !there:
					t.Errorf("%s was acknowledged and is not there", name)
				case err == nil && acknowledged.Add(1) == 500:
					go l.Close()
				}
			}
		})
	}
	wg.Wait()
	l.Close()
	if refusedAsStopped.Load() != 16 {
		t.Errorf("%d proposers stopped", refusedAsStopped.Load())
	}
	if err := q.Check(t.Context()); err != nil {
		t.Error(err)
	}
	jobs, _, _ := q.Unfinished(t.Context())
	if assigned := len(jobs); len(seen.kinds()) != 1+2*assigned {
		t.Errorf("%d events of %d jobs", len(seen.kinds()), assigned)
	}
	if !slices.IsSorted(seen.indexes()) {
		t.Errorf("observed out of order: %v", seen.indexes())
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
	again, err := queue.Open(t.Context(), queue.Options{Path: filepath.Join(dir, "queue.db"), Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if reloaded, _, _ := again.Unfinished(t.Context()); len(reloaded) != len(jobs) {
		t.Errorf("%d jobs after a restart, want %d", len(reloaded), len(jobs))
	}
}
