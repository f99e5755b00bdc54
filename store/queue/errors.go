package queue

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// primary masks the primary code in SQLite's extended result codes.
const primary = 0xff

// databaseError adds to an error of SQLite what callers tell apart: a damaged
// file, and a full disk.
func databaseError(err error) error {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return err
	}
	switch se.Code() & primary {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w: its file is damaged: %w", ErrInconsistent, err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return err
}

// readError is databaseError for reads, which a closed store refuses.
func (s *Store) readError(err error) error {
	select {
	case <-s.closed:
		return ErrClosed
	default:
		return databaseError(err)
	}
}
