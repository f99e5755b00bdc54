package raftfsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/queue"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// behind is a follower that is too far behind for the log, cut off from the others.
func behind(t *testing.T, ms []*member) (leader, follower *member) {
	t.Helper()
	leader = leaderOf(t, ms)
	follower = others(ms, leader)[0]
	leader.do(OpenSession(&queuepb.OpenSession{SessionId: "s", BotId: "bot"}))
	caughtUp(t, ms)
	follower.cut()
	for i := range 30 {
		name := fmt.Sprint(i)
		leader.do(Submit(submission(name)))
		leader.do(actionPut(name))
	}
	if err := leader.raft.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	return leader, follower
}

func TestAFollowerThatIsFarBehindGetsTheStateWhileItIsRead(t *testing.T) {
	var replaced atomic.Int64
	adapt := func(o *RaftOptions) { shortLog(o); o.Replaced = func(uint64) { replaced.Add(1) } }
	inCluster(t, 3, adapt, func(t *testing.T, ms []*member) {
		leader, follower := behind(t, ms)
		before := replaced.Load()
		reading, stop := context.WithCancel(t.Context())
		read := make(chan int)
		go func() {
			n := 0
			for ; reading.Err() == nil; n++ {
				rows, _, err := follower.q.List(t.Context(), queue.ListQuery{Instance: "main"})
				if err != nil || (len(rows) > 0 && len(rows) < 30) {
					t.Errorf("a reader sees %d operations, %v", len(rows), err)
				}
				time.Sleep(time.Millisecond)
			}
			read <- n
		}()
		follower.connect()
		leader.do(Submit(submission("last")))
		same(t, ms)
		stop()
		if n := <-read; n == 0 {
			t.Error("nobody read")
		}
		if replaced.Load() != before+1 {
			t.Errorf("%d states came in, want 1", replaced.Load()-before)
		}
		noLeftovers(t, ms)
		noGaps(t, ms)
		if err := leader.raft.Transfer(t.Context()); err != nil {
			t.Fatal(err)
		}
		leaderOf(t, ms).do(Submit(submission("afterwards")))
		same(t, ms)
	})
}

// noLeftovers looks for files of transfers that are over.
func noLeftovers(t *testing.T, ms []*member) {
	t.Helper()
	for _, m := range ms {
		names, err := os.ReadDir(filepath.Join(m.dir, "raft"))
		if err != nil {
			t.Error(err)
		}
		for _, n := range names {
			if n.Name() != logFile && n.Name() != markerFile {
				t.Errorf("%s has %s left over", m.id, n.Name())
			}
		}
	}
}

// noGaps reads all logs.
func noGaps(t *testing.T, ms []*member) {
	t.Helper()
	for _, m := range ms {
		first, err1 := m.raft.store.FirstIndex()
		last, err2 := m.raft.store.LastIndex()
		if err1 != nil || err2 != nil {
			t.Error(err1, err2)
		}
		for i := first; i <= last; i++ {
			if err := m.raft.store.GetLog(i, new(raft.Log)); err != nil {
				t.Errorf("entry %d of %d to %d of %s: %v", i, first, last, m.id, err)
			}
		}
	}
}

// TestAnImportThatWasInterruptedIsFinishedAtTheStart stops a follower between the
// import of its action cache and that of its queue.
func TestAnImportThatWasInterruptedIsFinishedAtTheStart(t *testing.T) {
	inCluster(t, 3, shortLog, func(t *testing.T, ms []*member) {
		_, follower := behind(t, ms)
		turn, err := follower.q.Begin(t.Context()) // nobody else changes the queue
		if err != nil {
			t.Fatal(err)
		}
		follower.connect()
		for follower.cache.AppliedIndex() == 0 {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		closed := make(chan error)
		go func() { closed <- follower.raft.Close() }()
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
		if err := turn.Rollback(); err != nil {
			t.Fatal(err)
		}
		if isThere(t, follower.q, "3") {
			t.Fatal("the queue was imported: nothing was interrupted")
		}
		if _, err := os.Stat(filepath.Join(follower.dir, "raft", incomingFile)); err != nil {
			t.Fatal("the state is not marked as not taken over yet", err)
		}
		follower.stop()
		follower.start()
		if !isThere(t, follower.q, "29") {
			t.Error("not finished when OpenRaft returns")
		}
		same(t, ms)
		noLeftovers(t, ms)
		noGaps(t, ms)
	})
}

// TestANodeThatStoodAloneBecomesACluster, of which the second member stood alone
// for longer: what it had is replaced.
func TestANodeThatStoodAloneBecomesACluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ms := newCluster(t, 3, nil)
		for i, index := range []uint64{2000, 3000} { // of their last commands
			m := ms[i]
			m.stop()
			q := openQueue(t, m.dir)
			l := openLocal(t, LocalOptions{Queue: q, ActionCache: m.cache})
			for j := range 20 {
				if _, err := l.Propose(t.Context(), Submit(submission(fmt.Sprint(m.id, "-", j))), actionPut(fmt.Sprint(m.id, j))); err != nil {
					t.Fatal(err)
				}
			}
			last := &commandpb.Command{Version: Version, Entries: []*commandpb.Entry{Submit(submission(m.id + "-last")), actionPut(m.id)}}
			_, err := l.machine.Apply(t.Context(), index, []*commandpb.Command{last})
			if err = errors.Join(err, l.Close(), q.Close()); err != nil {
				t.Fatal(err)
			}
			m.start()
		}
		alone := ms[0].q.AppliedIndex()
		if err := ms[0].raft.Bootstrap(servers(ms)); err != nil {
			t.Fatal(err)
		}
		leader := leaderOf(t, ms)
		if leader != ms[0] {
			t.Fatalf("%s leads, which had nothing", leader.id)
		}
		if r := leader.do(Submit(submission("first"))); r.Index <= alone {
			t.Errorf("index %d is not above those of before, up to %d", r.Index, alone)
		}
		same(t, ms)
		for _, m := range ms {
			if !isThere(t, m.q, "n0-last") || isThere(t, m.q, "n1-0") || !isThere(t, m.q, "first") {
				t.Errorf("%s does not have the state of n0", m.id)
			}
		}
	})
}

// TestARestartAppliesNothingTwice and finds a log that was cut off.
func TestARestartAppliesNothingTwice(t *testing.T) {
	inCluster(t, 3, shortLog, func(t *testing.T, ms []*member) {
		const puts = 60
		for i := range puts {
			leaderOf(t, ms).do(actionPut(fmt.Sprint(i)))
			if i%20 == 0 {
				time.Sleep(3 * time.Second) // markers are written
			}
		}
		caughtUp(t, ms)
		time.Sleep(3 * time.Second)
		for _, m := range ms {
			m.stop()
		}
		for _, m := range ms {
			m.start()
		}
		leaderOf(t, ms).do(Submit(submission("after")))
		same(t, ms)
		for _, m := range ms {
			if n := m.cache.writes(); n != puts {
				t.Errorf("%s applied %d writes, want %d", m.id, n, puts)
			}
			first, err := m.raft.store.FirstIndex()
			if s := m.raft.Status(); err != nil || s.LastLog-first > 8+4+3 || s.Snapshot < s.LastLog-15 {
				t.Errorf("%s keeps entries %d to %d, marker at %d, %v", m.id, first, s.LastLog, s.Snapshot, err)
			}
		}
	})
}

// TestACrashBeforeTheFirstTermIsMended: Bootstrap writes two things.
func TestACrashBeforeTheFirstTermIsMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ms := newCluster(t, 1, nil)
		m, err := ms[0].raft.firstMarker(servers(ms))
		if err = errors.Join(err, ms[0].raft.snaps.put(m)); err != nil {
			t.Fatal(err)
		}
		ms[0].stop()
		ms[0].start()
		if ms[0].raft.Term() != firstTerm {
			t.Errorf("term %d", ms[0].raft.Term())
		}
		leaderOf(t, ms).do(Submit(submission("x")))
	})
}

func TestAStateThatIsNotWholeIsNotTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ms := formed(t, 1, nil)
		ms[0].do(Submit(submission("a")))
		snaps := ms[0].raft.snaps
		var state bytes.Buffer
		if err := snaps.state.export(t.Context(), &state); err != nil {
			t.Fatal(err)
		}
		flipped := bytes.Clone(state.Bytes())
		flipped[len(flipped)/2] ^= 1
		for name, data := range map[string][]byte{
			"a bit": flipped, "cut off": state.Bytes()[:state.Len()-1], "too long": append(bytes.Clone(state.Bytes()), 0), "something else": []byte("x"),
		} {
			sink, err := snaps.Create(1, 1000, 1, snaps.last.Configuration, 1, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := sink.Write(data); err != nil {
				t.Fatal(err)
			}
			if err := sink.Close(); !errors.Is(err, errState) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if snaps.pending() != nil {
			t.Error("it is to be taken over")
		}
		noLeftovers(t, ms)
	})
}

// busyCache gets a command between the moments at which the stores are read.
type busyCache struct {
	*fakeCache
	apply func()
}

func (c busyCache) Export(ctx context.Context, to io.Writer) error {
	defer c.apply()
	c.apply()
	return c.fakeCache.Export(ctx, to)
}

// TestAnExportHasNoQueueAheadOfItsActionCache: what the queue asked of the action
// cache would be lost.
func TestAnExportHasNoQueueAheadOfItsActionCache(t *testing.T) {
	from, to := newNode(t), newNode(t)
	from.m.Apply(t.Context(), 1, []*commandpb.Command{{Version: Version, Entries: []*commandpb.Entry{
		OpenSession(&queuepb.OpenSession{SessionId: "s", BotId: "b"}),
	}}})
	n := uint64(1)
	work := func() {
		name := fmt.Sprint(n)
		n++
		out, err := from.m.Apply(t.Context(), n, []*commandpb.Command{{Version: Version, Entries: []*commandpb.Entry{
			Submit(submission(name)), Assign(&queuepb.Assign{JobId: "job-" + name, Attempt: 1, SessionId: "s"}), Complete(completion(name, 1, "s")),
		}}})
		if err = errors.Join(append(out.Results[0].Errors, err)...); err != nil {
			t.Fatal(err)
		}
	}
	work()
	var b bytes.Buffer
	if err := (stores{from.q, busyCache{from.cache, work}}).export(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if err := (stores{to.q, to.cache}).load(t.Context(), bytes.NewReader(b.Bytes()), false); err != nil {
		t.Fatal(err)
	}
	if q, c := to.q.AppliedIndex(), to.cache.AppliedIndex(); q == 0 || c < q {
		t.Errorf("the queue is at %d, the action cache at %d", q, c)
	}
}

// TestAStateThatComesLateIsRefused: Raft would begin again at its index.
func TestAStateThatComesLateIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ms := formed(t, 1, nil)
		index := ms[0].do(Submit(submission("a"))).Index
		ms[0].do(Submit(submission("b")))
		if err := ms[0].raft.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		snaps := ms[0].raft.snaps
		sink, err := snaps.Create(1, entryIndex(index), 1, snaps.last.Configuration, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := snaps.state.export(t.Context(), sink); err != nil {
			t.Fatal(err)
		}
		if err := sink.Close(); err == nil || snaps.pending() != nil {
			t.Error("it is taken over")
		}
		noLeftovers(t, ms)
	})
}

// TestAnEntryThatRaftShowsAgainIsNotObservedAgain: a state that came twice takes it
// back.
func TestAnEntryThatRaftShowsAgainIsNotObservedAgain(t *testing.T) {
	inCluster(t, 1, nil, func(t *testing.T, ms []*member) {
		m := ms[0]
		m.do(Submit(submission("a")))
		applied, _ := m.raft.fsm.position()
		var l raft.Log
		if err := m.raft.entries.GetLog(applied, &l); err != nil {
			t.Fatal(err)
		}
		before := m.seen.indexes()
		m.raft.fsm.Apply(&l)
		if !slices.Equal(m.seen.indexes(), before) {
			t.Errorf("observed %v, then %v", before, m.seen.indexes())
		}
	})
}

// TestAMemberGivesUpWhatWasNeverCommitted where the state that it gets ends in the
// middle of that.
func TestAMemberGivesUpWhatWasNeverCommitted(t *testing.T) {
	few := func(o *RaftOptions) { o.SnapshotEvery, o.TrailingLogs = 1<<20, 1 }
	inCluster(t, 3, few, func(t *testing.T, ms []*member) {
		old := leaderOf(t, ms)
		old.do(Submit(submission("before")))
		caughtUp(t, ms)
		old.cut()
		for i := range 20 { // straight to Raft: proposals in flight are few
			data, err := encodeGroup([]*commandpb.Command{{Version: Version, Entries: []*commandpb.Entry{actionPut(fmt.Sprint("lost", i))}}})
			if err != nil {
				t.Fatal(err)
			}
			old.raft.raft().Apply(data, 0)
		}
		stale := old.raft.Status().LastLog
		leader := leaderOf(t, others(ms, old))
		for leader.raft.Status().LastLog < stale-8 {
			leader.do(Submit(submission(fmt.Sprint(leader.raft.Status().LastLog))))
		}
		if err := leader.raft.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		if m := leader.raft.Status().Snapshot; m >= stale {
			t.Fatalf("the marker at %d is above what was never committed, up to %d", m, stale)
		}
		old.connect()
		same(t, ms)
		leaderOf(t, ms).do(Submit(submission("after")))
		same(t, ms)
		noGaps(t, ms)
	})
}

func TestMarkersDoNotGoBack(t *testing.T) {
	s, err := openSnapshots(t.Context(), t.TempDir(), nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		index uint64
		ok    bool
	}{{5, true}, {7, true}, {6, false}, {7, true}} {
		m := &marker{}
		m.Index, m.ID = c.index, markerID(c.index, 1)
		if err := s.put(m); (err == nil) != c.ok {
			t.Errorf("marker %d: %v", c.index, err)
		}
	}
	again, err := openSnapshots(t.Context(), s.dir, nil, quiet())
	if err != nil || again.index() != 7 {
		t.Errorf("after a restart at %d, %v", again.index(), err)
	}
}

func FuzzState(f *testing.F) {
	q := openQueue(f, f.TempDir())
	var b strings.Builder
	if err := (stores{q, &fakeCache{}}).export(context.Background(), &b); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(b.String()))
	f.Add([]byte(stateMagic + "q\x00\x00\x00\x00e"))
	f.Fuzz(func(t *testing.T, data []byte) {
		total := int64(0)
		err := eachSection(bytes.NewReader(data), func(_ byte, r io.Reader) error {
			n, err := io.Copy(io.Discard, r)
			total += n
			return err
		})
		if total > int64(len(data)) || (err != nil && !errors.Is(err, errState)) {
			t.Errorf("%d bytes of %d, %v", total, len(data), err)
		}
		_ = verifyState(bytes.NewReader(data))
	})
}
