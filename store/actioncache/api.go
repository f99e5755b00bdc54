// Package actioncache keeps ActionResults in Badger, and tells whether all that
// an ActionResult or an input root names is present. See DESIGN.md.
package actioncache

import (
	"context"
	"errors"
	"time"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// What callers tell apart.
var (
	// ErrNotFound means that there is no result that may be served.
	ErrNotFound = errors.New("no action result that is complete")
	// ErrMalformed means that a blob is not the Directory, Tree or Action that it
	// should be, or breaks a rule for one; the message names the path and the rule.
	ErrMalformed = errors.New("malformed")
	// ErrClosed means that the store was closed.
	ErrClosed = errors.New("the action cache is closed")
	// ErrInconsistent means that the store broke a rule of its own: a bug, or a
	// damaged file.
	ErrInconsistent = errors.New("the action cache is inconsistent")
)

// Blobs is what the action cache needs of the content-addressable storage;
// *cas.Store has it. Whatever is asked for and found is protected from then on.
type Blobs interface {
	// Get returns a whole blob, or an error that is cas.ErrNotFound.
	Get(ctx context.Context, d digest.Digest) ([]byte, error)
	// GetMany is Get for many, with an error for each.
	GetMany(ctx context.Context, ds []digest.Digest) ([][]byte, []error)
	// FindMissing returns those that are not there, each once, in the order asked.
	FindMissing(ctx context.Context, ds []digest.Digest) ([]digest.Digest, error)
	// Bucket is how long an answer "present" may be remembered.
	Bucket() time.Duration
	// LossEpoch grows when blobs were lost: no earlier answer holds then.
	LossEpoch() uint64
}

// Write is one change of the action cache. raftfsm.CacheOf makes them of what
// the command log says.
type Write struct {
	Instance string
	Action   digest.Digest
	// Result is a serialised ActionResult of at most MaxInline bytes, unless
	// ResultBlob is set: then that blob of the content-addressable storage is one.
	Result     []byte
	ResultBlob digest.Digest
	// Evict removes the entry instead, but only one that was written at an index
	// which is not above IfWrittenAtOrBefore.
	Evict               bool
	IfWrittenAtOrBefore uint64
	// Index is that of the command, with which the entry is tagged; 0 means that
	// of the Apply.
	Index uint64
}

// MaxInline is the largest serialised ActionResult, in bytes, that Apply takes.
// The command log sends those above 64 KiB as blobs.
const MaxInline = 256 << 10

// Stats are figures of a Store. The counters start at 0 with the process.
type Stats struct {
	Entries    int64 // of all instances
	DiskBytes  int64
	MemoBytes  int64 // estimated, of what is remembered in memory
	Hits       int64
	Misses     int64 // no entry
	Incomplete int64 // an entry, but something that it names is missing
	Evicted    int64 // over MaxEntries, or by an Evict
}
