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
	memTable  uint32 // the newest of Badger's logs at the last sync
	broken    error  // once a sync went wrong, nobody knows what is on the disk
}

// recovered says that an earlier life has left what may not be durable yet.
func (l *logState) recovered() {
	l.values.Add(1)
	l.commits.Add(1)
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
		memTable, err = syncMemTables(dir, memTable)
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

// syncMemTables syncs Badger's logs from a number on and returns the newest. Any
// number of them may have come since, and the older ones of them gone again: those
// are in tables, which Badger has synced.
func syncMemTables(dir string, from uint32) (newest uint32, err error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return from, err
	}
	newest = from
	for _, e := range names {
		base, ext, _ := strings.Cut(e.Name(), ".")
		n, err := strconv.ParseUint(base, 10, 32)
		if err != nil || ext != "mem" || uint32(n) < from {
			continue
		}
		if err := syncFile(filepath.Join(dir, e.Name())); err != nil {
			return from, err
		}
		newest = max(newest, uint32(n))
	}
	return newest, nil
}
