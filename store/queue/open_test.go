package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAReopenedStoreIsTheSame(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a strange?%41 &name#")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, dir)
	must(t, s, session("s"), submit("a", "o1"), attach("a", "o2", -3), submit("b", "o3"), assignTo("b", 1, "s"), submit("c", "o4"), cancel("o4"))
	before, index, at := dump(t, s), s.AppliedIndex(), s.AppliedTime()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "queue.db")); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir)
	defer s.Close()
	if diff := cmp.Diff(before, dump(t, s)); diff != "" {
		t.Error(diff)
	}
	if s.AppliedIndex() != index || !s.AppliedTime().Equal(at) {
		t.Errorf("index %d at %v, was %d at %v", s.AppliedIndex(), s.AppliedTime(), index, at)
	}
	check(t, s)
	must(t, s, assignTo("a", 1, "s"), complete("b", 1, "s")) // held jobs are known again
}

// TestOpenSaysInOneLineWhatIsWrong also proves that a refused file is not touched.
func TestOpenSaysInOneLineWhatIsWrong(t *testing.T) {
	intact := func(t *testing.T, path string) []byte {
		s := openStore(t, filepath.Dir(path))
		for i := range 200 {
			must(t, unsynced(t, s), submit(name("j", i), name("o", i)))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	sql := func(text string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			s := openStore(t, filepath.Dir(path))
			must(t, s, submit("j", "o"))
			if err := errors.Join(s.w.run(context.Background(), text), s.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	write := func(t *testing.T, path string, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, path string)
		want    string
		is      error
	}{
		{"another file", func(t *testing.T, path string) { write(t, path, bytes.Repeat([]byte("not a database\n"), 1000)) }, "file is not a database", ErrInconsistent},
		{"damaged pages", func(t *testing.T, path string) {
			b := intact(t, path)
			for i := 4096; i < len(b); i += 16 {
				copy(b[i:], "xxxxxxxxxxxxxxxx")
			}
			write(t, path, b)
		}, "malformed", ErrInconsistent},
		{"cut", func(t *testing.T, path string) {
			b := intact(t, path)
			write(t, path, b[:len(b)/4096/2*4096])
		}, "malformed", ErrInconsistent},
		{"a directory", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "open it for writing: is a directory", nil},
		{"no directory", func(t *testing.T, path string) {
			if err := os.Remove(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
		}, "open it for writing: no such file or directory", nil},
		{"a newer version", sql("PRAGMA user_version = 99"), "its schema has version 99, and this build knows up to 1: a newer bgrid-node wrote it", nil},
		{"a bad digest", sql("UPDATE jobs SET action = 'x'"), "job j: invalid digest", ErrInconsistent},
		{"bad properties", sql("UPDATE jobs SET matched = '{'"), "job j: decode properties", ErrInconsistent},
		{"no meta", sql("DELETE FROM meta"), "it has no row of meta", ErrInconsistent},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "data", "queue.db")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			c.prepare(t, path)
			before, _ := os.ReadFile(path)
			_, err := Open(context.Background(), Options{Path: path})
			if err == nil || !strings.HasPrefix(err.Error(), "open queue "+path+": ") || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%v; want %q in one line", err, c.want)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v is not %v", err, c.is)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
}

// TestAFullDiskLosesNothing lets SQLite run out of pages, which is the same error
// as ENOSPC.
func TestAFullDiskLosesNothing(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	must(t, s, session("s"), submit("j", "o"))
	before := dump(t, s)
	if err := s.w.run(context.Background(), "PRAGMA max_page_count = 1"); err != nil { // means as many as there are
		t.Fatal(err)
	}
	tx := begin(t, s)
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		err = apply(tx, epoch, submit(name("big", i), name("ob", i)))
	}
	if !errors.Is(err, ErrDiskFull) || !errors.Is(tx.Err(), ErrDiskFull) {
		t.Fatalf("%v; want ErrDiskFull", err)
	}
	if again := apply(tx, epoch, remove("o")); again != err {
		t.Errorf("a lost transaction goes on: %v", again)
	}
	if err := tx.Commit(s.AppliedIndex()+1, epoch); !errors.Is(err, ErrDiskFull) || strings.Contains(err.Error(), "\n") {
		t.Fatalf("commit: %v", err)
	}
	if diff := cmp.Diff(before, dump(t, s)); diff != "" {
		t.Error(diff)
	}
	check(t, s)
	if err := s.w.run(context.Background(), "PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		must(t, s, submit(name("big", i), name("ob", i)))
	}
	check(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAClosedStoreSaysSo(t *testing.T) {
	s := openStore(t, t.TempDir())
	must(t, s, submit("j", "o"), cancel("o"))
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, begun := s.Begin(t.Context())
	_, _, listed := s.List(t.Context(), ListQuery{})
	_, _, read := s.Operation(t.Context(), "o")
	for _, err := range []error{begun, listed, read, s.Check(t.Context()), s.Dump(t.Context(), new(bytes.Buffer))} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%v; want ErrClosed", err)
		}
	}
}

func TestOneTransactionAtATime(t *testing.T) {
	s := newStore(t)
	tx := begin(t, s)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(fmt.Errorf("enough"))
	if _, err := s.Begin(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a second transaction: %v", err)
	}
	if err := apply(tx, epoch, submit("j", "o")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Operation(t.Context(), "o"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a reader sees what is not committed: %v", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	must(t, s, submit("j", "o"))
	find(t, s, "o")
}
