package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// drawCommand draws a command on a handful of ids; attempts are mostly right.
func drawCommand(t *rapid.T, m model, at time.Time) proto.Message {
	id := func(kind string, n int) string { return name(kind, rapid.IntRange(0, n).Draw(t, kind)) }
	job, op, holder := id("j", 5), id("o", 8), id("s", 3)
	attempt := m.jobs[job].attempt + rapid.SampledFrom([]int32{0, 0, 0, 0, 0, -1, 1}).Draw(t, "attempt")
	if rapid.IntRange(0, 9).Draw(t, "mine") > 1 {
		holder = m.jobs[job].session
	}
	switch rapid.SampledFrom([]string{
		"submit", "submit", "attach", "assign", "assign", "complete", "requeue", "cancel", "delete", "open", "open", "update", "close", "prune",
	}).Draw(t, "command") {
	case "submit":
		c := submit(job, op)
		c.Priority, c.DoNotCache = int32(rapid.IntRange(-2, 2).Draw(t, "priority")), rapid.Bool().Draw(t, "do not cache")
		c.SessionId = rapid.SampledFrom([]string{"", "s0", "s3"}).Draw(t, "session")
		return c
	case "attach":
		return attach(job, op, int32(rapid.IntRange(-2, 2).Draw(t, "priority")))
	case "assign":
		return assignTo(job, attempt+1, id("s", 3))
	case "complete":
		c := complete(job, attempt, holder)
		c.Cache = rapid.Bool().Draw(t, "cache")
		return c
	case "requeue":
		c := requeue(job, attempt, holder)
		c.Interrupted = rapid.Bool().Draw(t, "interrupted")
		return c
	case "cancel":
		return cancel(op)
	case "delete":
		return remove(op)
	case "open":
		s := session(id("s", 3))
		s.Draining = rapid.Bool().Draw(t, "draining")
		return s
	case "update":
		return &queuepb.UpdateSession{SessionId: id("s", 3), Draining: rapid.Bool().Draw(t, "draining")}
	case "close":
		c := &queuepb.CloseSession{SessionId: id("s", 3), Reason: "gone", Interrupted: rapid.Bool().Draw(t, "interrupted")}
		if rapid.Bool().Draw(t, "keeps") {
			c.Keep, c.KeepSession = []string{job, id("j", 5)}, id("s", 3)
		}
		return c
	}
	return &queuepb.Prune{BeforeNanos: at.Add(-3 * time.Second).UnixNano(), Limit: int32(rapid.IntRange(1, 3).Draw(t, "limit"))}
}

// view is what somebody knows who is told of events only.
type view struct {
	jobs     map[string]*Job
	sessions map[string]*Session
	live     map[string]string // operation to job, of those that are not done
	ended    map[string]int    // how often each job was completed
}

func (v *view) take(t fataler, events []Event) {
	for _, e := range events {
		switch e.Kind {
		case JobQueued, JobAssigned, JobPriority, JobMoved:
			if old := v.jobs[e.Job.ID]; e.Kind == JobAssigned && (old == nil || old.Stage != Queued) {
				t.Fatalf("job %s was assigned while it was %+v", e.Job.ID, old)
			}
			v.jobs[e.Job.ID] = e.Job
			if e.Operation != nil {
				v.live[e.Operation.ID] = e.Job.ID
			}
		case JobCompleted:
			delete(v.jobs, e.Job.ID)
			v.ended[e.Job.ID+e.Job.QueuedAt.String()]++
			for op, job := range v.live {
				if job == e.Job.ID {
					delete(v.live, op)
				}
			}
		case OperationAttached:
			v.live[e.Operation.ID] = e.Job.ID
		case OperationCancelled, OperationDeleted:
			delete(v.live, e.Operation.ID)
		case SessionOpened, SessionUpdated:
			v.sessions[e.Session.ID] = e.Session
		case SessionClosed:
			delete(v.sessions, e.Session.ID)
		}
	}
	for job, n := range v.ended {
		if n != 1 {
			t.Fatalf("job %s was completed %d times", job, n)
		}
	}
}

// agrees proves that the view has what the store has.
func (v *view) agrees(t fataler, s *Store) {
	jobs, ops, _ := s.Unfinished(context.Background())
	sessions, _ := s.Sessions(context.Background())
	want := view{jobs: map[string]*Job{}, sessions: map[string]*Session{}, live: map[string]string{}, ended: v.ended}
	for _, j := range jobs {
		want.jobs[j.ID] = j
	}
	for _, o := range ops {
		if !o.Cancelled {
			want.live[o.ID] = o.JobID
		}
	}
	for _, ses := range sessions {
		want.sessions[ses.ID] = ses
	}
	if diff := cmp.Diff(want, *v, cmp.AllowUnexported(view{})); diff != "" {
		t.Fatalf("what events told (+) is not what is there (-):\n%s", diff)
	}
}

// agree proves that the store has what the model has.
func agree(t fataler, s *Store, m model) {
	t.Helper()
	got := newModel()
	seen := map[string]bool{}
	for n := range 9 {
		o, j, err := s.Operation(context.Background(), name("o", n))
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got.ops[o.ID] = modelOp{job: o.JobID, cancelled: o.Cancelled, response: string(o.Response)}
		got.jobs[j.ID] = modelled(j, m.jobs[j.ID].seq)
		seen[j.ID] = true
	}
	sessions, _ := s.Sessions(context.Background())
	for _, ses := range sessions {
		got.sessions[ses.ID] = modelSession{draining: ses.Draining}
	}
	want := m.clone()
	for id := range want.jobs {
		if !seen[id] { // all its operations were deleted: no question reaches it
			delete(want.jobs, id)
		}
	}
	got.nextSeq, got.writes = want.nextSeq, want.writes
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(model{}, modelJob{}, modelOp{}, modelSession{})); diff != "" {
		t.Fatalf("the store (+) is not what the model (-) says:\n%s", diff)
	}
}

// TestRandomHistoriesDoWhatTheModelDoes feeds histories in groups of random size,
// some of which are rolled back, and reopens now and then. A second store gets the
// same one by one: grouping must make no difference.
func TestRandomHistoriesDoWhatTheModelDoes(t *testing.T) {
	root := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			t.Fatal(err)
		}
		other, err := os.MkdirTemp(root, "")
		if err != nil {
			t.Fatal(err)
		}
		s, single := unsynced(t, openStore(t, dir)), unsynced(t, openStore(t, other))
		var tx *Tx
		defer func() {
			giveUp(tx) // Close waits for it
			s.Close()
			single.Close()
			os.RemoveAll(dir)
			os.RemoveAll(other)
		}()
		m := newModel()
		v := &view{jobs: map[string]*Job{}, sessions: map[string]*Session{}, live: map[string]string{}, ended: map[string]int{}}
		at := epoch
		for range rapid.IntRange(1, 10).Draw(t, "groups") {
			next := m.clone()
			before := len(next.writes)
			tx = begin(t, s)
			var group []proto.Message
			var times []time.Time
			for range rapid.IntRange(1, 8).Draw(t, "commands") {
				at = at.Add(time.Second)
				c := drawCommand(t, next, at)
				group, times = append(group, c), append(times, at)
				want, got := next.apply(at, c), apply(tx, at, c)
				if !errors.Is(got, want) {
					t.Fatalf("%T %v: %v, the model says %v", c, c, got, want)
				}
			}
			if rapid.IntRange(0, 4).Draw(t, "roll back") == 0 {
				if err := tx.Rollback(); err != nil {
					t.Fatal(err)
				}
				agree(t, s, m)
				continue
			}
			if got, want := len(tx.ActionCacheWrites()), len(next.writes)-before; got != want {
				t.Fatalf("%d results to cache, want %d", got, want)
			}
			events := tx.Events()
			if err := tx.Commit(s.AppliedIndex()+uint64(len(group)), at); err != nil {
				t.Fatal(err)
			}
			m = next
			agree(t, s, m)
			v.take(t, events)
			v.agrees(t, s)
			for i, c := range group {
				tx := begin(t, single)
				apply(tx, times[i], c)
				if err := tx.Commit(single.AppliedIndex()+1, times[i]); err != nil {
					t.Fatal(err)
				}
			}
			if rapid.IntRange(0, 4).Draw(t, "reopen") == 0 {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = unsynced(t, openStore(t, dir))
				agree(t, s, m)
			}
		}
		check(t, s)
		if diff := cmp.Diff(dump(t, s), dump(t, single)); diff != "" {
			t.Fatalf("grouped (-) and one by one (+) differ:\n%s", diff)
		}
	})
}

func begin(t fataler, s *Store) *Tx {
	t.Helper()
	tx, err := s.Begin(context.Background())
	if err != nil {
		t.Fatal(fmt.Errorf("begin: %w", err))
	}
	t.Cleanup(func() { giveUp(tx) })
	return tx
}

// giveUp ends a transaction that a failed test left open.
func giveUp(tx *Tx) {
	if tx != nil && tx.s != nil {
		tx.Rollback()
	}
}

// unsynced spares a test that never loses power the time of its syncs.
func unsynced(t fataler, s *Store) *Store {
	t.Helper()
	if err := s.w.run(context.Background(), "PRAGMA synchronous = OFF"); err != nil {
		t.Fatal(err)
	}
	return s
}
