package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
)

func exported(t testing.TB, s *Store) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Export(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// filled returns a store with n jobs of each stage, named after it.
func filled(t testing.TB, name string, n int) *Store {
	s := newStore(t)
	ms := []proto.Message{session("s " + name)}
	for i := range 3 * n {
		job := fmt.Sprint(name, i)
		ms = append(ms, submit(job, "op "+job))
		if i%3 > 0 {
			ms = append(ms, assignTo(job, 1, "s "+name))
		}
		if i%3 > 1 {
			ms = append(ms, complete(job, 1, "s "+name))
		}
	}
	must(t, s, append(ms, attach(name+"0", "second "+name, 3))...)
	return s
}

func TestAnImportTakesThePlaceOfEverything(t *testing.T) {
	source, to := filled(t, "a", 20), filled(t, "b", 3)
	for range 2 {
		must(t, source, submit(fmt.Sprint("more", source.AppliedIndex()), fmt.Sprint("op more", source.AppliedIndex())))
		if err := to.Import(t.Context(), bytes.NewReader(exported(t, source)), false); err != nil {
			t.Fatal(err)
		}
		check(t, to)
		if dump(t, to) != dump(t, source) || to.AppliedIndex() != source.AppliedIndex() || !to.AppliedTime().Equal(source.AppliedTime()) {
			t.Fatalf("at %d:\n%s\nwant, at %d:\n%s", to.AppliedIndex(), dump(t, to), source.AppliedIndex(), dump(t, source))
		}
	}
	for _, s := range []*Store{source, to} { // both go on in the same way
		must(t, s, complete("a1", 1, "s a"), submit("next", "op next"), assignTo("a0", 1, "s a"))
	}
	if check(t, to); dump(t, to) != dump(t, source) {
		t.Error("the stores part")
	}
	var path string
	if err := to.readers.QueryRow("SELECT file FROM pragma_database_list").Scan(&path); err != nil {
		t.Fatal(err)
	}
	want := dump(t, to)
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	again := openStore(t, filepath.Dir(path))
	defer again.Close()
	if check(t, again); dump(t, again) != want {
		t.Error("not the same after a restart")
	}
}

func TestAStoreThatIsFurtherIsReplacedOnlyWhenToldTo(t *testing.T) {
	source, to := filled(t, "a", 2), filled(t, "b", 5)
	before, state := dump(t, to), exported(t, source)
	if err := to.Import(t.Context(), bytes.NewReader(state), false); err != nil || dump(t, to) != before {
		t.Error("replaced by what is older", err)
	}
	if err := to.Import(t.Context(), bytes.NewReader(state), true); err != nil || dump(t, to) != dump(t, source) {
		t.Error("not replaced", err)
	}
}

func TestAnImportThatFailsChangesNothing(t *testing.T) {
	source, to := filled(t, "a", 20), filled(t, "b", 3)
	before, state := dump(t, to), exported(t, source)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	other := bytes.Clone(state)
	other[0] += 2
	twice := bytes.Clone(state) // a job that is there twice breaks a rule of the tables
	row := bytes.Index(twice, []byte("\x01i"))
	length := bytes.Index(twice[row+1:], []byte("\x01i"))
	twice = append(bytes.Clone(twice[:row]), append(bytes.Clone(twice[row:row+1+length]), twice[row:]...)...)
	for name, c := range map[string]struct {
		ctx   context.Context
		state []byte
		want  error
	}{
		"cut off":        {t.Context(), state[:len(state)/2], ErrState},
		"without an end": {t.Context(), state[:len(state)-1], ErrState},
		"another schema": {t.Context(), other, ErrState},
		"nothing":        {t.Context(), nil, ErrState},
		"cancelled":      {cancelled, state, context.Canceled},
		"a row twice":    {t.Context(), twice, nil},
	} {
		err := to.Import(c.ctx, bytes.NewReader(c.state), true)
		if err == nil || (c.want != nil && !errors.Is(err, c.want)) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if check(t, to); dump(t, to) != before {
			t.Fatalf("%s: changed", name)
		}
	}
	must(t, to, submit("after", "op after"))
}

func TestReadersSeeAnImportAsOneChange(t *testing.T) {
	to := newStore(t)
	var states [2][]byte
	for i := range states {
		states[i] = exported(t, filled(t, fmt.Sprint("abc"[i:i+1]), 20*(i+1)))
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				rows, _, err := to.List(t.Context(), ListQuery{Instance: "main"})
				if err != nil {
					t.Error(err)
				}
				if n := len(rows); n != 0 && n != 61 && n != 121 {
					t.Errorf("%d operations: of no state", n)
				}
			}
		})
	}
	for i := range 12 {
		state := states[i%2]
		if err := to.Import(t.Context(), bytes.NewReader(state), true); err != nil {
			t.Error(err)
		}
		check(t, to)
	}
	stop()
	wg.Wait()
}

func TestWithLazySyncOnlySyncWaitsForTheDisk(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), Options{Path: filepath.Join(dir, "queue.db"), LazySync: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var level int64
	if err := s.w.queryRow(t.Context(), "PRAGMA synchronous", nil, &level); err != nil || level != 1 {
		t.Errorf("synchronous is %d, want 1 (NORMAL); %v", level, err)
	}
	must(t, s, submit("a", "op a"))
	if err := s.Sync(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.path + "-wal"); err != nil {
		t.Error("Sync syncs a log that is not there", err)
	}
}

func FuzzImport(f *testing.F) {
	f.Add(exported(f, filled(f, "a", 1)))
	f.Add([]byte{})
	to := newStore(f)
	f.Fuzz(func(t *testing.T, state []byte) {
		if len(state) > 1<<16 {
			return
		}
		before := dump(t, to)
		if err := to.Import(t.Context(), bytes.NewReader(state), true); err != nil && !errors.Is(err, ErrInconsistent) && dump(t, to) != before {
			t.Errorf("changed by an import that failed: %v", err)
		}
	})
}
