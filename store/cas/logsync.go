package cas

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// logState makes a generation's data and logs durable. It syncs Badger's logs by
// their names rather than through Badger: Badger's own Sync holds locks that stall writers,
// and leaves out logs that were rotated since the last one.
type logState struct {
	commits   atomic.Uint64 // acknowledged
	values    atomic.Uint64 // commits that wrote to the data file
	mu        sync.Mutex
	synced    uint64 // of commits
	valSynced uint64 // of values
	memTable  uint32 // the newest when last looked
	broken    error  // once a sync went wrong, nobody knows what is on the disk
}

func memTableName(n uint32) string { return fmt.Sprintf("%05d.mem", n) }

// locate finds the logs that are being written.
func (l *logState) locate(dir string) error {
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range names {
		base, ext, _ := strings.Cut(e.Name(), ".")
		if n, err := strconv.ParseUint(base, 10, 32); err == nil && ext == "mem" {
			l.memTable = max(l.memTable, uint32(n))
		}
	}
	return nil
}

// sync makes durable what was committed before it was called. It costs nothing
// when there is nothing new; concurrent calls share one round.
func (l *logState) sync(dir string, data *dataFile) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	commits, values := l.commits.Load(), l.values.Load()
	if l.broken != nil || commits == l.synced {
		return l.broken
	}
	memTable := l.memTable
	var err error
	if values != l.valSynced {
		err = data.sync()
	}
	if err == nil {
		memTable, err = syncNumbered(dir, memTable, memTableName)
	}
	if err == nil && (memTable != l.memTable || l.synced == 0) {
		err = syncDir(dir)
	}
	if err != nil {
		l.broken = fmt.Errorf("sync generation %s: %w", filepath.Base(dir), err)
		return l.broken
	}
	l.memTable, l.synced, l.valSynced = memTable, commits, values
	return nil
}

// syncNumbered syncs a log and those that came after it, and returns the newest.
func syncNumbered(dir string, n uint32, name func(uint32) string) (uint32, error) {
	for {
		if err := syncFile(filepath.Join(dir, name(n))); err != nil {
			return n, err
		}
		if !exists(filepath.Join(dir, name(n+1))) {
			return n, nil
		}
		n++
	}
}
