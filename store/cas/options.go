package cas

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Options configures a Store.
type Options struct {
	// Dir holds the store and nothing else; it is created when absent.
	Dir string
	// MaxBytes caps what Dir takes on the disk, logs and indexes included. At
	// least MinMaxBytes.
	MaxBytes int64
	// ProtectionWindow is how long a blob stays after its last use at least. 0
	// means DefaultProtectionWindow. At most MaxProtectionWindow.
	ProtectionWindow time.Duration
	// ScrubInterval is the time in which the background scrub reads the whole
	// store once. 0 means DefaultScrubInterval, a negative value turns it off.
	ScrubInterval time.Duration
	// Logger is slog.Default() when nil.
	Logger *slog.Logger
}

// Limits and defaults of Options.
const (
	MinMaxBytes             = 32 << 20
	DefaultProtectionWindow = 3 * time.Hour // what Bazel assumes
	MaxProtectionWindow     = 366 * 24 * time.Hour
	DefaultScrubInterval    = 14 * 24 * time.Hour
)

// Validate says what is wrong with o, or nil.
func (o Options) Validate() error {
	switch {
	case o.Dir == "":
		return errors.New("the directory of the store is not set")
	case o.MaxBytes < MinMaxBytes:
		return fmt.Errorf("the size cap is %d bytes, the least is %d (32 MiB)", o.MaxBytes, MinMaxBytes)
	case o.ProtectionWindow < 0 || o.ProtectionWindow > MaxProtectionWindow:
		return fmt.Errorf("the protection window %s is not between 0 and %s", o.ProtectionWindow, MaxProtectionWindow)
	}
	return nil
}

// withDefaults fills in what was left out.
func (o Options) withDefaults() Options {
	if o.ProtectionWindow == 0 {
		o.ProtectionWindow = DefaultProtectionWindow
	}
	if o.ScrubInterval == 0 {
		o.ScrubInterval = DefaultScrubInterval
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Sizes that do not depend on the cap.
const (
	maxWhole     = 2 << 20                // a larger blob is stored as a list of pieces
	pieceBytes   = 512 << 10              // of each piece but the last
	packBytes    = maxWhole + entryHeader // small blobs that come together share packs up to this size
	maxBlobSize  = 1<<40 - 1              // what a record can say
	inlineBytes  = 1 << 10                // a smaller pack lies in Badger, a larger one in the data file
	maxDataBytes = 1 << 40                // of a data file: what a record can say
	valueLog     = 64 << 20               // Badger's, which nothing is written to
)

// geometry is what follows from the cap.
type geometry struct {
	generation    int64 // bytes at which an open generation is sealed
	records       int64 // or the number of blobs
	memTable      int64 // bytes of one memtable
	spillBytes    int64 // of content: at most so much is read again after a crash
	spillRecords  int
	allocation    int64 // bytes of a data file for which space is allocated ahead
	spare         int64 // bytes that the disk must have left
	cleanAbove    int64 // disk use at which the cleaner starts
	uploadLimit   int64 // disk use beyond which uploads are refused
	outputLimit   int64 // and outputs of actions
	survivorLimit int64 // and copies of the cleaner
}

const ringSize = 16

// geometryOf lays out the ring for a cap in bytes.
func geometryOf(maxBytes int64) geometry {
	gen := min(maxBytes/ringSize, maxDataBytes/2)
	g := geometry{
		generation:    gen,
		records:       1 << 20,
		memTable:      clamp(gen/16, 1<<20, 4<<20),
		spillBytes:    clamp(gen/2, 2<<20, 64<<20),
		spillRecords:  1 << 15,
		uploadLimit:   maxBytes / 100 * 94,
		outputLimit:   maxBytes / 100 * 99,
		survivorLimit: maxBytes / 100 * 104,
	}
	g.allocation = clamp(gen/16, 64<<10, 16<<20)
	g.spare = clamp(gen/2, 8<<20, 128<<20) + 4*g.memTable
	g.cleanAbove = g.uploadLimit - maxBytes/100*3
	return g
}

func clamp(v, low, high int64) int64 { return min(max(v, low), high) }
