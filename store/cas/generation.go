package cas

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"

	"github.com/bgrid-node/bgrid-node/store/engine"
)

// laneKind says what a generation gathers: what clients and actions write, or
// what the cleaner carried over from generations that it dropped.
type laneKind uint8

const (
	laneFresh laneKind = iota
	laneKept
	laneCount
)

func (k laneKind) String() string { return [...]string{"fresh", "kept"}[k] }

// generation is one Badger with its data file and its indexes: a directory that
// is filled, sealed, and in the end dropped as a whole.
type generation struct {
	id     uint32
	lane   laneKind
	dir    string
	geo    geometry
	logger *slog.Logger
	pools  *buffers
	data   *dataFile // open as long as the generation is in the ring

	pins sync.WaitGroup // readers; taken only under the ring's lock

	dbMu    sync.RWMutex // shared while reading; exclusive while db changes
	db      *badger.DB   // nil until the first read of a sealed generation
	wounded atomic.Bool  // a read faulted inside Badger, which may hold a lock for ever

	// These change only under the ring's lock.
	active *memIndex // nil when sealed
	frozen *memIndex // being spilled
	runs   []*run    // oldest first
	sealed atomic.Bool

	droppable atomic.Bool // sealing is complete: nobody but the cleaner changes its files

	spilled    uint32 // packs below were durable and indexed in files when the store was opened
	frozenLast uint32 // the last pack that frozen covers

	nextPack   atomic.Uint32
	appended   atomic.Int64 // bytes of packs
	blobs      atomic.Int64 // records, superseded ones included
	logical    atomic.Int64 // bytes of these blobs
	sinceSpill atomic.Int64 // bytes of packs
	unmeasured atomic.Int64 // bytes, estimated, since disk was measured
	disk       atomic.Int64 // bytes, measured
	leaving    int64        // bytes that it counts outside the ring, when it is dropped
	logs       logState
}

// Names inside a generation's directory, beside Badger's own.
const (
	sealedMarker = "SEALED" // closed cleanly, indexed by one file, read-only from now on
	deadMarker   = "DEAD"   // to be deleted
	deadSuffix   = ".dead"  // of a directory: closed, to be deleted
)

func generationName(id uint32, lane laneKind) string { return fmt.Sprintf("gen-%08x-%s", id, lane) }

func parseGenerationName(name string) (id uint32, lane laneKind, ok bool) {
	for lane := range laneCount {
		n, err := fmt.Sscanf(name, "gen-%08x-", &id)
		if err == nil && n == 1 && name == generationName(id, lane) {
			return id, lane, true
		}
	}
	return 0, 0, false
}

// openWritable opens Badger for writing, in a new directory or an existing one.
func (g *generation) openWritable() error {
	if err := os.MkdirAll(g.dir, 0o755); err != nil {
		return fmt.Errorf("open generation: %w", err)
	}
	if err := engine.RemoveEmptyLogs(g.dir); err != nil {
		return fmt.Errorf("open generation: %w", err)
	}
	if err := g.openData(); err != nil {
		return fmt.Errorf("open generation: %w", err)
	}
	db, err := badger.OpenManaged(badgerOptions(g.dir, g.geo, g.logger))
	if err != nil {
		return fmt.Errorf("open generation %s: %w", filepath.Base(g.dir), err)
	}
	g.dbMu.Lock()
	g.db = db
	g.dbMu.Unlock()
	return nil
}

// openReadOnly opens a sealed generation unless it is open already.
func (g *generation) openReadOnly() error {
	g.dbMu.Lock()
	defer g.dbMu.Unlock()
	return g.openReadOnlyLocked()
}

func (g *generation) openReadOnlyLocked() error {
	if g.db != nil {
		return nil
	}
	db, err := badger.OpenManaged(badgerOptions(g.dir, g.geo, g.logger).WithReadOnly(true))
	if err != nil && !beyondUs(err) { // nothing in it can be read: each blob goes when it is asked for
		return fmt.Errorf("open generation %s: %w: %w", filepath.Base(g.dir), errDamaged, err)
	}
	if err != nil {
		return fmt.Errorf("open generation %s: %w", filepath.Base(g.dir), err)
	}
	g.db = db
	return nil
}

// openData opens the data file unless it is open already.
func (g *generation) openData() (err error) {
	if g.data == nil {
		g.data, err = openData(g.dir, g.geo.allocation)
	}
	return err
}

// closeFiles closes Badger when it is open, and the data file. Every read must
// have ended.
func (g *generation) closeFiles() error {
	g.dbMu.Lock()
	defer g.dbMu.Unlock()
	err := g.closeLocked()
	if g.data != nil && !g.sealed.Load() {
		err = errors.Join(err, g.data.trim())
	}
	if g.data != nil {
		err = errors.Join(err, g.data.close())
	}
	return err
}

// leave gives Badger up without closing it.
func (g *generation) leave() {
	g.dbMu.Lock()
	defer g.dbMu.Unlock()
	g.db = nil
}

func (g *generation) closeLocked() error {
	db := g.db
	g.db = nil
	if db == nil || g.wounded.Load() {
		return nil
	}
	if err := db.Close(); err != nil {
		return fmt.Errorf("close generation %s: %w", filepath.Base(g.dir), err)
	}
	return nil
}

// readable takes dbMu for reading, with Badger open.
func (g *generation) readable() error {
	g.dbMu.RLock()
	for g.db == nil {
		g.dbMu.RUnlock()
		if !g.sealed.Load() {
			return ErrClosed
		}
		if err := g.openReadOnly(); err != nil {
			return err
		}
		g.dbMu.RLock()
	}
	return nil
}

// errFault says that a page of a mapped file cannot be read.
var errFault = fmt.Errorf("fault in a mapped file: %w", errDamaged)

// guard is the function of that name for reads inside Badger.
func (g *generation) guard(read func() error) error {
	err := guard(read)
	if errors.Is(err, errFault) {
		g.wounded.Store(true)
	}
	return err
}

// guard turns a fault in a mapped file (a bad disk, a file cut short) into
// errDamaged.
func guard(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			fault, ok := r.(interface{ Addr() uintptr })
			if !ok {
				panic(r)
			}
			err = fmt.Errorf("at %#x: %w", fault.Addr(), errFault)
		}
	}()
	return read()
}

// find looks a blob up, newest index first, and notes its use when at is not 0.
// The caller holds the ring's lock.
func (g *generation) find(fp fingerprint, size int64, at stamp, p *protection) (record, stamp, bool) {
	if g.active != nil {
		if r, st, ok := g.active.find(fp, size, at, p); ok {
			return r, st, true
		}
	}
	if g.frozen != nil {
		if r, st, ok := g.frozen.find(fp, size, at, p); ok {
			return r, st, true
		}
	}
	for i := len(g.runs) - 1; i >= 0; i-- {
		if r, st, ok := g.runs[i].find(fp, size, at, p); ok {
			return r, st, true
		}
	}
	return record{}, 0, false
}

// use returns the bytes on the disk, measured and since then estimated.
func (g *generation) use() int64 { return g.disk.Load() + g.unmeasured.Load() }

// measure asks the file system how much the generation takes.
func (g *generation) measure() {
	before := g.unmeasured.Load()
	g.disk.Store(diskUse(g.dir))
	g.unmeasured.Add(-before)
}
