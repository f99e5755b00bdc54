package invariants

import (
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
)

func TestNodesOfOneLogHaveOneState(t *testing.T) {
	a, b := newNode(t), newNode(t)
	a.apply(t, 1, story()...)
	b.apply(t, 5, story()...)
	inA, inB := stateOf(t, a), stateOf(t, b)
	if inA.Hash() != inB.Hash() || inA.Index() != inB.Index() || inA.Index() != uint64(len(story())) {
		t.Errorf("one log, two states: %+v and %+v", inA, inB)
	}
	if err := Compare("a", inA, "b", inB); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		rule  string
		entry *commandpb.Entry
		what  string
	}{
		{"a job more", submit("e"), "queues"},
		{"a result more", put("e"), "action caches"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			b.apply(t, 1, c.entry)
			other := stateOf(t, b)
			if other.Hash() == inA.Hash() {
				t.Error("the hash says the same")
			}
			other.QueueIndex, other.CacheIndex = inA.QueueIndex, inA.CacheIndex
			if err := Compare("a", inA, "b", other); !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), c.what) {
				t.Errorf("got %v, want that the %s differ", err, c.what)
			}
		})
	}
}

func TestNodesThatCameUnequallyFarAreNotCompared(t *testing.T) {
	a, b := newNode(t), newNode(t)
	a.apply(t, 1, story()...)
	b.apply(t, 1, story()[:3]...)
	if err := Compare("a", stateOf(t, a), "b", stateOf(t, b)); err != nil {
		t.Error(err)
	}
}

func stateOf(t *testing.T, n *node) State {
	t.Helper()
	s, err := StateOf(t.Context(), n.queue, n.cache)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCheckLooksAtTheStoresAndAtAttempts(t *testing.T) {
	n := newNode(t)
	n.apply(t, 1, story()[:11]...) // job b is in its second attempt
	if err := Check(t.Context(), n.queue, n.cache, Limits{Failures: 1, Losses: 1}); err != nil {
		t.Error(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(n.dir, "queue"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("UPDATE jobs SET attempt = 7 WHERE id = 'job-b'"); err != nil {
		t.Fatal(err)
	}
	err = Check(t.Context(), n.queue, n.cache, Limits{Failures: 1})
	if err == nil || !strings.Contains(err.Error(), "each attempt but the last ended in a requeue") {
		t.Errorf("got %v, want what the queue says of itself", err)
	}
	n = newNode(t)
	n.apply(t, 1, story()[:11]...)
	n.apply(t, 1, complete("b", 9, "s1")) // stale
	for _, l := range []Limits{{Failures: 1}, {Losses: 1}, {}} {
		if err := Check(t.Context(), n.queue, n.cache, l); err != nil {
			t.Error(err)
		}
	}
}
