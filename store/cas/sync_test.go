package cas

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestSyncReachesTheLogThatIsWritten stores so much between two syncs that Badger
// has begun several logs and deleted some of them again.
func TestSyncReachesTheLogThatIsWritten(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	o.MaxBytes = 512 * mib
	s := openStore(t, o)
	g := s.lanes[laneFresh].current
	put(t, s, testBlob(1, 100))
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	newest := func() string {
		logs, _ := filepath.Glob(filepath.Join(g.dir, "*.mem"))
		return logs[len(logs)-1]
	}
	first := newest()
	for seed := uint64(2); seed < 9000; seed++ {
		put(t, s, testBlob(seed, inlineBytes-entryHeader-1))
	}
	eventually(t, "the first log is gone", func() bool { return !exists(first) })
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.logs.mu.Lock()
	defer g.logs.mu.Unlock()
	if have := fmt.Sprintf("%05d.mem", g.logs.memTable); have != filepath.Base(newest()) {
		t.Errorf("the newest log is %s, %s was synced last", newest(), have)
	}
}

// TestSyncReachesWhatAnEarlierLifeLeft: what a killed process had acknowledged was
// in the page cache only.
func TestSyncReachesWhatAnEarlierLifeLeft(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	o.MaxBytes = 512 * mib
	s := openStore(t, o)
	put(t, s, testBlob(1, 5000))
	o.Dir = filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(o.Dir, os.DirFS(s.opt.Dir)); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	l := &s.lanes[laneFresh].current.logs
	if l.commits.Load() == l.synced || l.values.Load() == l.valSynced {
		t.Error("a sync would do nothing")
	}
	if err := s.Sync(t.Context()); err != nil || l.commits.Load() != l.synced {
		t.Errorf("%d of %d commits are synced, %v", l.synced, l.commits.Load(), err)
	}
}
