package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// TestInspectSaysWhatIsWrongWithALog damages the directory of a member that has
// stopped in one way after the other.
func TestInspectSaysWhatIsWrongWithALog(t *testing.T) {
	m := formed(t, 1, nil)[0]
	ctx := context.Background()
	for i := range 20 {
		if _, err := m.raft.Propose(ctx, Submit(submission(fmt.Sprint(i)))); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.raft.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	applied := m.q.AppliedIndex()
	m.stop()
	dir := filepath.Join(m.dir, "raft")
	found, err := Inspect(ctx, dir, applied, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Broken) > 0 || found.Last < 20 || found.Marker == 0 || found.Term == 0 || found.Incoming {
		t.Errorf("of a log that is whole: %+v", found)
	}
	if found, err = Inspect(ctx, dir, 0, 0); err != nil || len(found.Broken) > 0 {
		t.Errorf("of stores that are behind: %+v, %v", found, err)
	}
	for _, c := range []struct {
		broken string
		do     func(dir string) error
	}{
		{"the log ends at", func(string) error { return nil }},
		{"marker.json: unexpected end", func(dir string) error { return os.WriteFile(filepath.Join(dir, markerFile), []byte("{"), 0o600) }},
		{"what was between is lost", func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, markerFile)), changeLog(dir, func(s raft.LogStore) error { return s.DeleteRange(1, 10) }))
		}},
		{"corrupt command", func(dir string) error {
			return changeLog(dir, func(s raft.LogStore) error { return s.StoreLog(&raft.Log{Index: 15, Term: 2, Data: []byte("\xff")}) })
		}},
		{"entry 15 says that it is 15 of term 99", func(dir string) error {
			return changeLog(dir, func(s raft.LogStore) error { return s.StoreLog(&raft.Log{Index: 15, Term: 99, Type: raft.LogNoop}) })
		}},
		{"open log.db", func(dir string) error { return os.WriteFile(filepath.Join(dir, logFile), []byte("no database"), 0o600) }},
		{"the state that came in", func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, markerFile), filepath.Join(dir, incomingFile)),
				os.WriteFile(filepath.Join(dir, stateFile), []byte("half a"), 0o600))
		}},
	} {
		t.Run(c.broken, func(t *testing.T) {
			copied := t.TempDir()
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if err := c.do(copied); err != nil {
				t.Fatal(err)
			}
			found, err := Inspect(ctx, copied, 1<<40, 0)
			if err != nil {
				t.Fatal(err)
			}
			if all := errors.Join(found.Broken...); all == nil || !strings.Contains(all.Error(), c.broken) {
				t.Errorf("found %v, want %q", all, c.broken)
			}
		})
	}
	if _, err := Inspect(ctx, t.TempDir(), 0, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of no log: %v", err)
	}
}

// changeLog changes a log behind its back.
func changeLog(dir string, change func(raft.LogStore) error) error {
	s, err := openLog(dir)
	if err != nil {
		return err
	}
	return errors.Join(change(s), s.Close())
}
