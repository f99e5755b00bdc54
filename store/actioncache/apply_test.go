package actioncache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/dgraph-io/badger/v4"

	"github.com/bgrid-node/bgrid-node/store/cas"
)

func dump(t testing.TB, s *Store) string {
	var b strings.Builder
	if err := s.Dump(context.Background(), &b); err != nil {
		t.Fatalf("%v", err)
	}
	return b.String()
}

func exitCode(t *testing.T, s *Store, name string) int {
	t.Helper()
	r, err := s.Get(t.Context(), "main", actionNamed(name))
	if errors.Is(err, ErrNotFound) {
		return -1
	}
	if err != nil {
		t.Fatal(err)
	}
	return int(r.GetExitCode())
}

func TestAnIndexIsAppliedOnce(t *testing.T) {
	s := openStore(t, Options{})
	a := actionNamed("a")
	apply(t, s, put(a, &repb.ActionResult{ExitCode: 1}))
	apply(t, s, put(a, &repb.ActionResult{ExitCode: 2}))
	for _, index := range []uint64{1, 2} {
		if err := s.Apply(index, []Write{put(a, &repb.ActionResult{ExitCode: 9}), put(actionNamed("b"), &repb.ActionResult{})}); err != nil {
			t.Error(err)
		}
	}
	if exitCode(t, s, "a") != 2 || exitCode(t, s, "b") != -1 || s.AppliedIndex() != 2 {
		t.Errorf("an index was applied again:\n%s", dump(t, s))
	}
	check(t, s)
}

func TestEvictSparesWhatWasWrittenSince(t *testing.T) {
	s := openStore(t, Options{})
	a := actionNamed("a")
	evict := func(index uint64) Write {
		return Write{Instance: "main", Action: a, Evict: true, IfWrittenAtOrBefore: index}
	}
	apply(t, s, put(a, &repb.ActionResult{ExitCode: 1}))
	second := apply(t, s, put(a, &repb.ActionResult{ExitCode: 2}))
	apply(t, s, evict(second-1))
	if exitCode(t, s, "a") != 2 {
		t.Error("an entry that was written since is gone")
	}
	apply(t, s, evict(second))
	if exitCode(t, s, "a") != -1 {
		t.Error("it was not evicted")
	}
	apply(t, s, evict(second))
	if got := s.Stats(); got.Entries != 0 || got.Evicted != 1 {
		t.Errorf("%+v", got)
	}
	check(t, s)
}

func TestEntriesAreTaggedWithTheirCommand(t *testing.T) {
	s := openStore(t, Options{})
	w := put(actionNamed("a"), &repb.ActionResult{})
	w.Index = 7
	if err := s.Apply(9, []Write{w}); err != nil {
		t.Fatal(err)
	}
	if got := dump(t, s); !strings.Contains(got, " index=7 ") || s.AppliedIndex() != 9 {
		t.Errorf("applied %d:\n%s", s.AppliedIndex(), got)
	}
}

func TestTheOldestGoFirst(t *testing.T) {
	s := openStore(t, Options{MaxEntries: 3})
	for _, name := range []string{"a", "b", "c", "a", "d", "e"} {
		apply(t, s, put(actionNamed(name), &repb.ActionResult{}))
	}
	for name, want := range map[string]int{"a": 0, "b": -1, "c": -1, "d": 0, "e": 0} {
		if got := exitCode(t, s, name); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
	if got := s.Stats(); got.Entries != 3 || got.Evicted != 2 {
		t.Errorf("%+v", got)
	}
	check(t, s)
}

// What a store holds depends on the log alone: not on how the commands were
// grouped, how large a transaction may get, nor on restarts in the middle.
func TestTheSameLogGivesTheSameStore(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			o := Options{MaxEntries: random.IntN(7)}
			log := make([]Write, 150)
			for i := range log {
				action := actionNamed(fmt.Sprint(random.IntN(10)))
				log[i] = put(action, &repb.ActionResult{ExitCode: int32(i)})
				if random.IntN(5) == 0 {
					log[i] = Write{Instance: "main", Action: action, Evict: true, IfWrittenAtOrBefore: uint64(random.IntN(i + 1))}
				}
				log[i].Index = uint64(i + 1)
			}
			single := func() int { return 1 }
			grouped := func() int { return 1 + random.IntN(40) }
			one, other := feed(t, o, log, single), feed(t, o, log, grouped)
			if a, b := dump(t, one), dump(t, other); a != b {
				t.Errorf("one by one:\n%s\nin groups:\n%s", a, b)
			}
			for _, s := range []*Store{one, other} {
				check(t, s)
				if got := s.Stats().Entries; o.MaxEntries > 0 && got > int64(o.MaxEntries) {
					t.Errorf("%d entries, the most is %d", got, o.MaxEntries)
				}
			}
		})
	}
}

// feed applies a log to a new store in groups.
func feed(t *testing.T, o Options, log []Write, size func() int) *Store {
	t.Helper()
	s := openStore(t, o)
	for from := 0; from < len(log); {
		to := min(from+size(), len(log))
		if err := s.Apply(uint64(to), log[from:to]); err != nil {
			t.Fatal(err)
		}
		from = to
	}
	return s
}

// A group that is too large for one transaction and that a crash cuts short is
// applied again as a whole, and gives what it would have given.
func TestALargeGroupCanBeAppliedAgain(t *testing.T) {
	big := strings.Repeat("x", 60<<10)
	var group []Write
	for i := range 40 {
		group = append(group, put(actionNamed(fmt.Sprint(i%30)), &repb.ActionResult{ExitCode: int32(i), StdoutRaw: []byte(big)}))
	}
	group = append(group, Write{Instance: "main", Action: actionNamed("before 3"), Evict: true, IfWrittenAtOrBefore: 1})
	open := func(dir string) *Store { return openStore(t, Options{Dir: dir, MaxEntries: 20}) }
	before := []Write{put(actionNamed("before 1"), &repb.ActionResult{}), put(actionNamed("before 2"), &repb.ActionResult{}), put(actionNamed("before 3"), &repb.ActionResult{})}
	whole := open("")
	apply(t, whole, before...)
	apply(t, whole, group...)

	dir := t.TempDir()
	cut := open(dir)
	apply(t, cut, before...)
	// An unreadable record stops the group in its middle, after a first transaction.
	bad := key{"main", actionNamed("bad")}
	must(t, cut.db.Update(func(txn *badger.Txn) error { return txn.Set(bad.bytes(), []byte("?")) }))
	broken := append(slices.Clone(group[:25]), put(bad.action, &repb.ActionResult{}))
	for range 2 {
		if err := cut.Apply(2, broken); !errors.Is(err, ErrInconsistent) {
			t.Fatalf("an unreadable record: %v", err)
		}
	}
	must(t, cut.db.Update(func(txn *badger.Txn) error { return txn.Delete(bad.bytes()) }))
	must(t, cut.Close())
	again := open(dir)
	check(t, again)
	if got := dump(t, again); !strings.Contains(got, "index=2") {
		t.Fatalf("nothing of the group was written before it stopped:\n%s", got)
	}
	if again.AppliedIndex() != 1 {
		t.Fatalf("a part of a group counts as applied: %d", again.AppliedIndex())
	}
	apply(t, again, group...)
	if a, b := dump(t, whole), dump(t, again); a != b {
		t.Errorf("at once:\n%s\nafter a crash:\n%s", a, b)
	}
	check(t, again)
}

func TestLargeResultsAreBlobs(t *testing.T) {
	blobs := newBlobs()
	s := openStore(t, Options{Blobs: blobs})
	r := &repb.ActionResult{StdoutRaw: make([]byte, 3<<20), ExitCode: 3}
	blob := blobs.message(r)
	apply(t, s, Write{Instance: "main", Action: actionNamed("a"), ResultBlob: blob})
	if got := exitCode(t, s, "a"); got != 3 {
		t.Errorf("got %d", got)
	}
	blobs.forgetTouches()
	blobs.lose(true)
	if got := exitCode(t, s, "a"); got != 3 || blobs.touched[blob] == 0 {
		t.Errorf("in a later era: got %d, protected %d times", got, blobs.touched[blob])
	}
	blobs.lose(true, blob)
	if got := exitCode(t, s, "a"); got != -1 {
		t.Errorf("without the blob: got %d", got)
	}
}

func TestApplyRefusesBeforeItWrites(t *testing.T) {
	s := openStore(t, Options{})
	err := s.Apply(1, []Write{put(actionNamed("a"), &repb.ActionResult{}), {Action: actionNamed("b"), Result: make([]byte, MaxInline+1)}})
	if err == nil || exitCode(t, s, "a") != -1 || s.AppliedIndex() != 0 {
		t.Errorf("a result that is too large: %v", err)
	}
	if err := s.Apply(1, []Write{{Instance: strings.Repeat("i", maxInstance+1), Action: actionNamed("a")}}); err == nil {
		t.Error("an endless instance name is accepted")
	}
	s.space.free = func() (int64, error) { return guard - 1, nil }
	var full *cas.FullError
	if err := s.Apply(1, []Write{put(actionNamed("a"), &repb.ActionResult{})}); !errors.As(err, &full) || exitCode(t, s, "a") != -1 {
		t.Errorf("on a full disk: %v", err)
	}
	if err := s.Room(); !errors.As(err, &full) {
		t.Errorf("room on a full disk: %v", err)
	}
	evict := []Write{{Action: actionNamed("a"), Evict: true}}
	if err := s.Apply(1, evict); err != nil {
		t.Errorf("an eviction on a nearly full disk: %v", err)
	}
	s.space.free = func() (int64, error) { return evictGuard - 1, nil }
	if err := s.Apply(2, evict); !errors.As(err, &full) || s.AppliedIndex() != 1 {
		t.Errorf("an eviction on a full disk: %v", err)
	}
	s.space.free = func() (int64, error) { return guard, nil }
	apply(t, s, put(actionNamed("a"), &repb.ActionResult{}), put(actionNamed("largest"), &repb.ActionResult{StdoutRaw: make([]byte, MaxInline-100)}))
	if exitCode(t, s, "a") != 0 || exitCode(t, s, "largest") != 0 {
		t.Error("with room again nothing was written")
	}
	check(t, s)
}

func TestOpenAndClose(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Options{Dir: dir})
	apply(t, s, put(actionNamed("a"), &repb.ActionResult{ExitCode: 5}))
	if _, err := Open(t.Context(), Options{Dir: dir, Blobs: newBlobs(), Logger: quiet}); err == nil {
		t.Error("two stores in one directory")
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Get(t.Context(), "main", actionNamed("a")); !errors.Is(err, ErrClosed) {
		t.Errorf("Get of a closed store: %v", err)
	}
	if err := s.Apply(2, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Apply to a closed store: %v", err)
	}
	again := openStore(t, Options{Dir: dir})
	if exitCode(t, again, "a") != 5 || again.AppliedIndex() != 1 || again.Stats().Entries != 1 {
		t.Errorf("reopened: %+v", again.Stats())
	}
	for _, o := range []Options{{Blobs: newBlobs()}, {Dir: dir}, {Dir: dir, Blobs: newBlobs(), MaxEntries: -1}, {Dir: dir, Blobs: newBlobs(), MemoBytes: -1}} {
		if err := o.Validate(); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

// Badger writes a table as it closes, into a mapping: on a full disk that kills.
func TestCloseOnAFullDiskLeavesBadgerAlone(t *testing.T) {
	s := openStore(t, Options{})
	s.space.free = func() (int64, error) { return evictGuard - 1, nil }
	must(t, s.Close())
	if s.db.IsClosed() {
		t.Error("Badger was closed")
	}
	if _, err := s.Get(t.Context(), "main", actionNamed("a")); !errors.Is(err, ErrClosed) {
		t.Errorf("Get of a closed store: %v", err)
	}
	must(t, s.db.Close())
}

// The invariants must bite.
func TestCheckFindsDamage(t *testing.T) {
	a := key{"main", actionNamed("a")}
	for name, damage := range map[string]func(txn *badger.Txn) error{
		"an entry without order": func(txn *badger.Txn) error { return txn.Delete(orderKey(0)) },
		"an order key alone":     func(txn *badger.Txn) error { return txn.Set(orderKey(1), []byte("e?")) },
		"a lost entry":           func(txn *badger.Txn) error { return txn.Delete(a.bytes()) },
		"an unreadable record":   func(txn *badger.Txn) error { return txn.Set(a.bytes(), []byte("?")) },
		"an index of the future": func(txn *badger.Txn) error { return txn.Set(a.bytes(), (&record{index: 99}).bytes()) },
		"no ActionResult": func(txn *badger.Txn) error {
			return txn.Set(a.bytes(), (&record{index: 1, result: []byte("\xff\xff")}).bytes())
		},
		"a wrong count": func(txn *badger.Txn) error {
			return txn.Set(metaKey, meta{applied: 1, begun: 1, next: 1, entries: 2}.bytes())
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, Options{})
			apply(t, s, put(a.action, &repb.ActionResult{}))
			check(t, s)
			if err := s.db.Update(damage); err != nil {
				t.Fatal(err)
			}
			if err := s.Check(t.Context()); !errors.Is(err, ErrInconsistent) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// While a result is replaced over and over, nobody reads one that is older than
// what was acknowledged before.
func TestNoReaderGoesBack(t *testing.T) {
	s := openStore(t, Options{})
	a := actionNamed("a")
	apply(t, s, put(a, &repb.ActionResult{ExitCode: 1}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 2; i <= 300; i++ {
			if err := s.Apply(uint64(i), []Write{put(a, &repb.ActionResult{ExitCode: int32(i)})}); err != nil {
				t.Error(err)
			}
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		acknowledged := s.AppliedIndex()
		if got := exitCode(t, s, "a"); got < int(acknowledged) {
			t.Fatalf("read what was written at %d, %d is acknowledged", got, acknowledged)
		}
	}
}
