// Package cas stores blobs on this disk, in a ring of Badger generations. See
// DESIGN.md.
package cas

import (
	"errors"
	"fmt"
	"time"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// What callers tell apart.
var (
	ErrNotFound = errors.New("blob not found")
	ErrMismatch = errors.New("Data does not match hash")
	ErrClosed   = errors.New("the store is closed")
	ErrLocked   = errors.New("another process has the store open")
	// ErrUnavailable says that another node must be asked, or must take a copy, and
	// cannot be reached: nothing is known of the blob, and a later try may succeed.
	ErrUnavailable = errors.New("blobs are not available now")
)

// FullError says that a write was refused because everything in the store is
// protected, or because the disk is full.
type FullError struct {
	Reason     string        // what is full, for people
	RetryAfter time.Duration // when it may be worth another try
}

func (e *FullError) Error() string {
	return fmt.Sprintf("the content-addressable storage is full: %s", e.Reason)
}

// Class says on whose behalf a write is done.
type Class int

// Uploads of clients are refused before those of running actions: 5 % of the
// capacity is kept for the latter.
const (
	Upload Class = iota
	Output
)

// Blob is content with its name.
type Blob struct {
	Digest digest.Digest
	Data   []byte
}
