package actioncache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// logSync makes Badger's write-ahead logs durable by their names: Badger's own
// Sync leaves out a log that was rotated since the last one.
type logSync struct {
	dir    string
	newest uint32 // log, when last looked
	named  bool   // the directory is durable with it
}

func logName(n uint32) string { return fmt.Sprintf("%05d.mem", n) }

// locate finds the log that is being written.
func (l *logSync) locate() error {
	names, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	for _, e := range names {
		base, ok := strings.CutSuffix(e.Name(), ".mem")
		if n, err := strconv.ParseUint(base, 10, 32); ok && err == nil {
			l.newest = max(l.newest, uint32(n))
		}
	}
	return nil
}

// sync returns when what was committed before survives a power loss. A log that
// is gone was flushed to a table, which Badger made durable first.
func (l *logSync) sync() error {
	for {
		if err := syncPath(filepath.Join(l.dir, logName(l.newest))); err != nil {
			return err
		}
		if _, err := os.Lstat(filepath.Join(l.dir, logName(l.newest+1))); err != nil {
			break
		}
		l.newest, l.named = l.newest+1, false
	}
	if l.named {
		return nil
	}
	if err := syncPath(l.dir); err != nil {
		return err
	}
	l.named = true
	return nil
}

// syncPath syncs a file or directory, if there is one.
func syncPath(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}
