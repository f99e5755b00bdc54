package actioncache

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Options configures a Store.
type Options struct {
	// Dir holds the store and nothing else; it is created when absent.
	Dir string
	// Blobs is where the results' blobs are.
	Blobs Blobs
	// MaxEntries bounds the number of entries; those written longest ago go
	// first. 0: there is no limit but the disk. Members of a cluster must agree on
	// it.
	MaxEntries int
	// MemoBytes bounds what is remembered in memory. 0 means DefaultMemoBytes.
	MemoBytes int
	// OnDangling is told of an entry that names a missing blob, and of the index
	// at which the entry was written, so that it can be evicted through the
	// command log. At most once for each entry while its answer holds, and not
	// more than danglingPerSecond. It must not block. nil: nobody is told.
	OnDangling func(instance string, action digest.Digest, index uint64)
	// Logger is slog.Default() when nil.
	Logger *slog.Logger
}

// DefaultMemoBytes is the memory for parsed results and directories: some
// 10,000 small results and as many directories.
const DefaultMemoBytes = 24 << 20

// danglingPerSecond bounds the calls of OnDangling.
const danglingPerSecond = 100

// Validate says what is wrong with o, or nil.
func (o Options) Validate() error {
	switch {
	case o.Dir == "":
		return errors.New("the directory of the action cache is not set")
	case o.Blobs == nil:
		return errors.New("the action cache needs a content-addressable storage")
	case o.MaxEntries < 0:
		return fmt.Errorf("the number of entries %d is negative", o.MaxEntries)
	case o.MemoBytes < 0:
		return fmt.Errorf("the memory of %d bytes is negative", o.MemoBytes)
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.MemoBytes == 0 {
		o.MemoBytes = DefaultMemoBytes
	}
	if o.OnDangling == nil {
		o.OnDangling = func(string, digest.Digest, uint64) {}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}
