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

// logState makes a generation's logs durable. It syncs the files by their names
// rather than through Badger: Badger's own Sync holds locks that stall writers,
// and leaves out logs that were rotated since the last one.
type logState struct {
	commits   atomic.Uint64 // acknowledged
	values    atomic.Uint64 // commits that wrote to a value log
	mu        sync.Mutex
	synced    uint64 // of commits
	valSynced uint64 // of values
	valueLog  uint32 // the newest of each kind when last looked
	memTable  uint32
	broken    error // once a sync went wrong, nobody knows what is on the disk
}

func valueLogName(n uint32) string { return fmt.Sprintf("%06d.vlog", n) }
func memTableName(n uint32) string { return fmt.Sprintf("%05d.mem", n) }

// locate finds the logs that are being written.
func (l *logState) locate(dir string) error {
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range names {
		base, ext, _ := strings.Cut(e.Name(), ".")
		n, err := strconv.ParseUint(base, 10, 32)
		if err != nil {
			continue
		}
		switch ext {
		case "vlog":
			l.valueLog = max(l.valueLog, uint32(n))
		case "mem":
			l.memTable = max(l.memTable, uint32(n))
		}
	}
	return nil
}

// sync makes durable what was committed before it was called. It costs nothing
// when there is nothing new; concurrent calls share one round.
func (l *logState) sync(dir string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	commits, values := l.commits.Load(), l.values.Load()
	if l.broken != nil || commits == l.synced {
		return l.broken
	}
	valueLog, memTable := l.valueLog, l.memTable
	var err error
	if values != l.valSynced {
		valueLog, err = syncNumbered(dir, valueLog, valueLogName)
	}
	if err == nil {
		memTable, err = syncNumbered(dir, memTable, memTableName)
	}
	if err == nil && (valueLog != l.valueLog || memTable != l.memTable || l.synced == 0) {
		err = syncDir(dir)
	}
	if err != nil {
		l.broken = fmt.Errorf("sync generation %s: %w", filepath.Base(dir), err)
		return l.broken
	}
	l.valueLog, l.memTable, l.synced, l.valSynced = valueLog, memTable, commits, values
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
