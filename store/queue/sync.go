package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Sync makes everything that was committed before the call survive a power loss:
// a store that was opened with LazySync needs it. Commits go on meanwhile.
//
// It syncs the write-ahead log. What has left the log was synced by SQLite before
// it did, in the database itself.
func (s *Store) Sync(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sync queue: %w", err)
	}
	if !s.lazy {
		return nil
	}
	if err := errors.Join(syncPath(s.path+"-wal"), syncPath(filepath.Dir(s.path))); err != nil {
		return fmt.Errorf("sync queue: %w", err)
	}
	return nil
}

// syncPath syncs a file or directory, if there is one.
func syncPath(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
