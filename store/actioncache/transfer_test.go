package actioncache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/dgraph-io/badger/v4"

	"github.com/bgrid-node/bgrid-node/store/cas"
)

func exported(t testing.TB, s *Store) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, s.Export(t.Context(), &b))
	return b.Bytes()
}

func dumped(t testing.TB, s *Store) string {
	t.Helper()
	var b bytes.Buffer
	must(t, errors.Join(s.Check(t.Context()), s.Dump(t.Context(), &b)))
	return b.String()
}

// filled returns a store with n results, each put twice.
func filled(t testing.TB, o Options, n int, exit int32) *Store {
	s := openStore(t, o)
	for range 2 {
		for i := range n {
			apply(t, s, put(actionNamed(fmt.Sprint(i)), &repb.ActionResult{ExitCode: exit}))
		}
	}
	return s
}

// TestAnImportTakesThePlaceOfEverything imports again and again, so that both
// sides are used, and goes on from there as the store that was exported does.
func TestAnImportTakesThePlaceOfEverything(t *testing.T) {
	source := filled(t, Options{MaxEntries: 30}, 30, 1)
	o := Options{MaxEntries: 30, Dir: t.TempDir(), Blobs: newBlobs()}
	to := filled(t, o, 5, 2)
	for round := range 3 {
		apply(t, source, put(actionNamed(fmt.Sprint("new", round)), &repb.ActionResult{}))
		must(t, to.Import(t.Context(), bytes.NewReader(exported(t, source)), false))
		if dumped(t, to) != dumped(t, source) || to.AppliedIndex() != source.AppliedIndex() {
			t.Fatalf("round %d: at %d:\n%s\nwant, at %d:\n%s", round, to.AppliedIndex(), dumped(t, to), source.AppliedIndex(), dumped(t, source))
		}
		for _, s := range []*Store{source, to} { // over the limit: both must give up the same entries
			apply(t, s, put(actionNamed(fmt.Sprint("more", round)), &repb.ActionResult{}))
		}
		if dumped(t, to) != dumped(t, source) {
			t.Fatalf("round %d: the stores part", round)
		}
		must(t, to.Close())
		to = openStore(t, o)
		if dumped(t, to) != dumped(t, source) || to.AppliedIndex() != source.AppliedIndex() {
			t.Fatalf("round %d: not the same after a restart", round)
		}
	}
}

func TestAStoreThatIsFurtherIsReplacedOnlyWhenToldTo(t *testing.T) {
	source, to := filled(t, Options{}, 3, 1), filled(t, Options{}, 9, 2)
	before, state := dumped(t, to), exported(t, source)
	must(t, to.Import(t.Context(), bytes.NewReader(state), false))
	if dumped(t, to) != before {
		t.Error("replaced by what is older")
	}
	must(t, to.Import(t.Context(), bytes.NewReader(state), true))
	if dumped(t, to) != dumped(t, source) {
		t.Error("not replaced")
	}
}

// TestReadersSeeAnImportAsOneChange: two entries never differ, although each
// import changes both.
func TestReadersSeeAnImportAsOneChange(t *testing.T) {
	to := openStore(t, Options{})
	var states [2][]byte
	for i := range states {
		states[i] = exported(t, filled(t, Options{}, 400, int32(i)))
	}
	must(t, to.Import(t.Context(), bytes.NewReader(states[0]), true))
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				var b bytes.Buffer
				if err := to.Dump(t.Context(), &b); err != nil {
					t.Error(err)
				}
				if n := bytes.Count(b.Bytes(), []byte("entry ")); n != 400 {
					t.Errorf("%d entries, want 400", n)
				}
				if _, err := to.Get(t.Context(), "main", actionNamed("7")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 4 {
		must(t, to.Import(t.Context(), bytes.NewReader(states[(i+1)%2]), true))
		r, err := to.Get(t.Context(), "main", actionNamed("7"))
		must(t, err)
		if want := int32((i + 1) % 2); r.ExitCode != want {
			t.Errorf("after the import: exit code %d, want %d", r.ExitCode, want)
		}
	}
	stop()
	wg.Wait()
	must(t, to.view(func(*badger.Txn) error {
		if to.sideMu.TryLock() {
			t.Error("a side can be emptied while it is read")
			to.sideMu.Unlock()
		}
		return nil
	}))
}

func TestAnImportThatFailsChangesNothing(t *testing.T) {
	state := exported(t, filled(t, Options{}, 20, 1))
	o := Options{Dir: t.TempDir(), Blobs: newBlobs()}
	to := filled(t, o, 3, 2)
	before := dumped(t, to)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	bad := bytes.Clone(state)
	bad[0]++
	for name, c := range map[string]struct {
		ctx   context.Context
		state []byte
		want  error
	}{
		"cut off":         {t.Context(), state[:len(state)/2], ErrState},
		"without its end": {t.Context(), state[:len(state)-1], ErrState},
		"another version": {t.Context(), bad, ErrState},
		"nothing":         {t.Context(), nil, ErrState},
		"cancelled":       {cancelled, state, context.Canceled},
	} {
		if err := to.Import(c.ctx, bytes.NewReader(c.state), true); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if dumped(t, to) != before {
			t.Fatalf("%s: changed", name)
		}
	}
	free := to.space.free
	to.space.free, to.space.left = func() (int64, error) { return 1, nil }, 0
	var full *cas.FullError
	if err := to.Import(t.Context(), bytes.NewReader(state), true); !errors.As(err, &full) {
		t.Errorf("on a full disk: %v", err)
	}
	to.space.free, to.space.left = free, 0
	if dumped(t, to) != before {
		t.Error("on a full disk: changed")
	}
	// As after a kill: entries on the other side, which is not live.
	must(t, to.db.Update(func(txn *badger.Txn) error { return txn.Set(side(1).at(actionKey("x")), []byte("?")) }))
	must(t, to.Close())
	to = openStore(t, o)
	if dumped(t, to) != before {
		t.Error("an interrupted import shows after a restart")
	}
	must(t, to.db.View(func(txn *badger.Txn) error {
		if _, err := txn.Get(side(1).at(actionKey("x"))); !errors.Is(err, badger.ErrKeyNotFound) {
			t.Errorf("what an interrupted import left is there after a restart: %v", err)
		}
		return nil
	}))
	must(t, to.Import(t.Context(), bytes.NewReader(state), true))
}

func actionKey(name string) []byte { return key{"main", actionNamed(name)}.bytes() }

func FuzzImport(f *testing.F) {
	f.Add(exported(f, filled(f, Options{}, 3, 1)))
	f.Add([]byte{})
	to := openStore(f, Options{})
	f.Fuzz(func(t *testing.T, state []byte) {
		if len(state) > 1<<16 {
			return
		}
		if err := to.Import(t.Context(), bytes.NewReader(state), true); err == nil {
			_ = to.Dump(t.Context(), new(bytes.Buffer))
		} else if !errors.Is(err, ErrState) {
			t.Error(err)
		}
	})
}
