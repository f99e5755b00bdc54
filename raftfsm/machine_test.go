package raftfsm

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// history returns n commands on few ids, many of them refused, some for the
// action cache alone, with a clock that jumps.
func history(seed uint64, n int) []*commandpb.Command {
	r := rand.New(rand.NewPCG(seed, 0))
	cmds := make([]*commandpb.Command, n)
	for i := range cmds {
		c := &commandpb.Command{Version: Version, TimeNanos: int64(i)*1e9 + r.Int64N(20e9)}
		for range 1 + r.IntN(3) {
			c.Entries = append(c.Entries, randomEntry(r))
		}
		cmds[i] = c
	}
	return cmds
}

func randomEntry(r *rand.Rand) *commandpb.Entry {
	name, session, attempt := fmt.Sprint(r.IntN(30)), fmt.Sprint("s", r.IntN(3)), int32(1+r.IntN(2))
	action := queue.DigestProto(digest.Of(digest.SHA256, []byte(name)))
	switch r.IntN(12) {
	case 0, 1:
		return Submit(submission(name))
	case 2, 3:
		return Assign(&queuepb.Assign{JobId: "job-" + name, Attempt: attempt, SessionId: session})
	case 4:
		return Complete(completion(name, attempt, session))
	case 5:
		return Requeue(&queuepb.Requeue{JobId: "job-" + name, Attempt: attempt, SessionId: session, Reason: "why not"})
	case 6:
		return CloseSession(&queuepb.CloseSession{SessionId: session, Interrupted: true})
	case 7, 8:
		return OpenSession(&queuepb.OpenSession{SessionId: session, BotId: "bot"})
	case 9:
		return CancelOperation(&queuepb.CancelOperation{OperationId: "op-" + name})
	case 10:
		return ActionCacheEvict(&commandpb.ActionCacheEvict{Instance: "main", Action: action, WrittenIndex: uint64(r.IntN(200))})
	}
	return ActionCachePut(&commandpb.ActionCachePut{
		Instance: "main", Action: action, Result: &commandpb.ActionCachePut_ActionResult{ActionResult: []byte(name)},
	})
}

// node is a machine with its stores.
type node struct {
	t     *testing.T
	dir   string
	q     *queue.Store
	cache *fakeCache
	m     *Machine
}

func newNode(t *testing.T) *node {
	n := &node{t: t, dir: t.TempDir(), cache: &fakeCache{}}
	n.open()
	t.Cleanup(func() { n.q.Close() })
	return n
}

func (n *node) open() {
	n.q = openQueue(n.t, n.dir)
	n.m = NewMachine(MachineOptions{Queue: n.q, ActionCache: n.cache})
}

// restart opens the stores again, as after a crash.
func (n *node) restart() {
	if err := n.q.Close(); err != nil {
		n.t.Fatal(err)
	}
	n.open()
}

// apply applies commands of a log that begins at 1, from first on.
func (n *node) apply(log []*commandpb.Command, first, last uint64) ([]Result, error) {
	out, err := n.m.Apply(n.t.Context(), first, log[first-1:last])
	return out.Results, err
}

// state is all that a node has.
func (n *node) state() string {
	var b strings.Builder
	if err := errors.Join(n.q.Check(n.t.Context()), n.q.Dump(n.t.Context(), &b)); err != nil {
		n.t.Fatal(err)
	}
	for i := range 30 {
		key := "main " + digest.Of(digest.SHA256, fmt.Append(nil, i)).String()
		fmt.Fprintln(&b, key, n.cache.entries[key])
	}
	return b.String()
}

// outcome is a result as text.
func outcome(r Result) string { return fmt.Sprint(r.Index, r.Time, r.Errors) }

// TestTheSameCommandsGiveTheSameStateEverywhere applies one log on two nodes: on
// the second days later, in groups of other sizes, and with restarts. A machine
// that reads the clock, draws something random, or remembers what its stores do
// not, fails here.
func TestTheSameCommandsGiveTheSameStateEverywhere(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := history(seed, 150)
				one, other := newNode(t), newNode(t)
				var want, got []string
				for i := range uint64(len(log)) {
					results, err := one.apply(log, i+1, i+1)
					if err != nil {
						t.Fatal(err)
					}
					want = append(want, outcome(results[0]))
				}
				time.Sleep(100 * time.Hour)
				r := rand.New(rand.NewPCG(seed, 1))
				for first := uint64(1); first <= uint64(len(log)); {
					last := min(first+r.Uint64N(12), uint64(len(log)))
					results, err := other.apply(log, first, last)
					if err != nil {
						t.Fatal(err)
					}
					for _, r := range results {
						got = append(got, outcome(r))
					}
					first = last + 1
					if r.IntN(4) == 0 {
						other.restart()
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("outcomes (-one +other):\n%s", diff)
				}
				if diff := cmp.Diff(one.state(), other.state()); diff != "" {
					t.Errorf("states (-one +other):\n%s", diff)
				}
			})
		})
	}
}

// TestReplayAfterACrashBetweenTheStores stops a node after the action cache has a
// group and before the queue has it, and replays the log from what the queue knows
// in other groups: each store must skip what it has, and no more.
func TestReplayAfterACrashBetweenTheStores(t *testing.T) {
	crash := errors.New("crash")
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			log := history(seed, 100)
			one, other := newNode(t), newNode(t)
			if _, err := one.apply(log, 1, 100); err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(seed, 2))
			crashes := 0
			for first := uint64(1); first <= 100; {
				last := min(first+r.Uint64N(10), 100)
				if other.cache.after = nil; r.IntN(2) == 0 {
					other.cache.after = crash
				}
				_, err := other.apply(log, first, last)
				if err == nil {
					first = last + 1
					continue
				}
				if !errors.Is(err, crash) || errors.Is(err, ErrFatal) {
					t.Fatal(err)
				}
				crashes++
				other.restart()
				first = other.q.AppliedIndex() + 1
			}
			if diff := cmp.Diff(one.state(), other.state()); diff != "" {
				t.Errorf("after %d crashes (-without +with):\n%s", crashes, diff)
			}
			if crashes == 0 || one.cache.applied != other.cache.applied {
				t.Errorf("%d crashes; %d writes of the action cache, want %d", crashes, other.cache.applied, one.cache.applied)
			}
		})
	}
}

func TestNoIndexIsUsedTwice(t *testing.T) {
	n := newNode(t)
	put := func() *commandpb.Command {
		return &commandpb.Command{Version: Version, Entries: []*commandpb.Entry{actionPut("a")}}
	}
	if _, err := n.m.Apply(t.Context(), n.m.Next(), []*commandpb.Command{put(), put()}); err != nil || n.m.Next() != 3 {
		t.Fatal(n.m.Next(), err)
	}
	n.cache.after = errors.New("after")
	n.m.Apply(t.Context(), n.m.Next(), []*commandpb.Command{put(), put()})
	n.cache.after, n.cache.fail = nil, errors.New("instead")
	n.m.Apply(t.Context(), n.m.Next(), []*commandpb.Command{put()})
	if n.m.Next() != 6 {
		t.Errorf("next is %d after 5 were tried", n.m.Next())
	}
	n.restart()
	if n.m.Next() != 5 { // the fifth is in no store
		t.Errorf("next is %d after a restart, want 5", n.m.Next())
	}
	n.cache.fail = nil
	if _, err := n.m.Apply(t.Context(), n.m.Next(), []*commandpb.Command{put()}); err != nil || n.cache.applied != 5 {
		t.Errorf("%d writes, %v", n.cache.applied, err)
	}
}

func TestTimeGoesOnWhateverTheClockSays(t *testing.T) {
	n := newNode(t)
	at := func(nanos int64, e *commandpb.Entry) time.Time {
		out, err := n.m.Apply(t.Context(), n.m.Next(), []*commandpb.Command{{Version: Version, TimeNanos: nanos, Entries: []*commandpb.Entry{e}}})
		if err != nil {
			t.Fatal(err)
		}
		return out.Results[0].Time
	}
	for i, c := range []struct{ clock, want int64 }{{0, 1}, {-7, 2}, {1000, 1000}, {500, 1001}, {1001, 1002}, {2000, 2000}, {0, 2001}, {-5, 2002}} {
		if i == 6 {
			n.restart()
		}
		if got := at(c.clock, Submit(submission(fmt.Sprint(i)))); got.UnixNano() != c.want {
			t.Errorf("command %d at %d was given %d, want %d", i, c.clock, got.UnixNano(), c.want)
		}
	}
	// What changes nothing in the queue is not remembered, and must not move it.
	at(9000, Assign(&queuepb.Assign{JobId: "none"}))
	at(9000, actionPut("a"))
	if got := at(3000, Submit(submission("last"))); got.UnixNano() != 3000 {
		t.Errorf("after what was refused: %d", got.UnixNano())
	}
	for i := range int64(2) {
		if got := at(math.MaxInt64, Submit(submission(fmt.Sprint("far", i)))); got.UnixNano() != maxTime+i {
			t.Errorf("with a clock at the end of time: %d", got.UnixNano())
		}
	}
	if err := n.q.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAnUnknownCommandStopsTheMachineForGood(t *testing.T) {
	good := &commandpb.Command{Version: Version, Entries: []*commandpb.Entry{Submit(submission("a"))}}
	for name, bad := range map[string]*commandpb.Command{
		"version":       {Version: Version + 1, Entries: good.Entries},
		"entry":         {Version: Version, Entries: []*commandpb.Entry{good.Entries[0], {}}},
		"missing entry": {Version: Version, Entries: []*commandpb.Entry{nil}},
		"nothing":       nil,
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			_, err := n.m.Apply(t.Context(), 1, []*commandpb.Command{good, bad})
			if !errors.Is(err, ErrFatal) || !errors.Is(err, ErrUnknownCommand) {
				t.Fatal(err)
			}
			if _, again := n.m.Apply(t.Context(), 1, []*commandpb.Command{good}); again != err {
				t.Errorf("it goes on: %v", again)
			}
			if _, _, err := n.q.Operation(t.Context(), "op-a"); !errors.Is(err, queue.ErrNotFound) || n.q.AppliedIndex() != 0 {
				t.Errorf("the group of an unknown command was applied in part: %v", err)
			}
		})
	}
}

// TestADamagedQueueStopsTheMachine: memory and tables that part are a bug or a
// damaged file, and to go on would spread it.
func TestADamagedQueueStopsTheMachine(t *testing.T) {
	n := newNode(t)
	if _, err := n.apply([]*commandpb.Command{{Version: Version, Entries: []*commandpb.Entry{
		Submit(submission("a")), OpenSession(&queuepb.OpenSession{SessionId: "s"}),
	}}}, 1, 1); err != nil {
		t.Fatal(err)
	}
	damage(t, n.dir, "DELETE FROM jobs")
	_, err := n.m.Apply(t.Context(), 2, []*commandpb.Command{{Version: Version, Entries: []*commandpb.Entry{
		Assign(&queuepb.Assign{JobId: "job-a", Attempt: 1, SessionId: "s"}),
	}}})
	if !errors.Is(err, ErrFatal) || !errors.Is(err, queue.ErrInconsistent) {
		t.Error(err)
	}
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashChild(dir)
	}
	os.Exit(m.Run())
}
