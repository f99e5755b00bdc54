package actioncache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/time/rate"

	"github.com/bgrid-node/bgrid-node/store/engine"
)

// Store is the action cache of one node. Its methods may be called concurrently.
type Store struct {
	opt    Options
	logger *slog.Logger
	blobs  Blobs
	lock   *engine.Lock
	db     *badger.DB
	logs   logSync
	space  space

	sideMu sync.RWMutex // held shared by readers: the side they read stays
	side   side         // written under applyMu and sideMu

	applyMu sync.Mutex // one Apply at a time
	meta    meta       // under applyMu
	broken  error      // under applyMu; once a write went wrong, nobody knows what is on the disk
	applied atomic.Uint64
	entries atomic.Int64

	era      eras
	results  *memo[key, *result]
	nodes    *memo[nodeKey, *node]
	marks    *memo[nodeKey, *mark]
	counters struct{ hits, misses, incomplete, evicted atomic.Int64 }
	dangling *rate.Limiter

	// closeMu is held shared by whoever uses db.
	closeMu sync.RWMutex
	closed  bool
}

// lockName is the file in the directory that keeps other processes out.
const lockName = "LOCK"

// Open opens the store in o.Dir, or makes a new one. It scans nothing.
func Open(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("open action cache: %w", err)
	}
	started := time.Now()
	s := &Store{
		opt: o, logger: o.Logger, blobs: o.Blobs, logs: logSync{dir: o.Dir}, space: space{free: freeIn(o.Dir)},
		results:  newMemo[key, *result](o.MemoBytes / 3),
		nodes:    newMemo[nodeKey, *node](o.MemoBytes / 3),
		marks:    newMemo[nodeKey, *mark](o.MemoBytes / 3),
		dangling: rate.NewLimiter(danglingPerSecond, danglingPerSecond),
	}
	if err := s.open(ctx); err != nil {
		return nil, fmt.Errorf("open action cache in %s: %w", o.Dir, err)
	}
	s.logger.Info("action cache is open", "dir", o.Dir, "entries", s.entries.Load(),
		"applied_index", s.applied.Load(), "duration", time.Since(started))
	return s, nil
}

func (s *Store) open(ctx context.Context) (err error) {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := os.MkdirAll(s.opt.Dir, 0o755); err != nil {
		return err
	}
	if s.lock, err = engine.Acquire(filepath.Join(s.opt.Dir, lockName)); err != nil {
		return err
	}
	if err := s.openLocked(); err != nil {
		return errors.Join(err, s.lock.Release())
	}
	return nil
}

func (s *Store) openLocked() (err error) {
	if err := engine.RemoveEmptyLogs(s.opt.Dir); err != nil {
		return err
	}
	if s.db, err = badger.Open(badgerOptions(s.opt.Dir, s.logger)); err != nil {
		return err
	}
	if err := errors.Join(s.loadMeta(), s.tidy(), s.logs.locate()); err != nil {
		return errors.Join(err, s.db.Close())
	}
	s.applied.Store(s.meta.applied)
	s.entries.Store(int64(s.meta.entries))
	return nil
}

func (s *Store) loadMeta() error {
	return s.db.View(func(txn *badger.Txn) (err error) {
		if s.side, err = sideOf(txn); err != nil {
			return err
		}
		s.meta, err = metaOf(txn, s.side)
		return err
	})
}

// metaOf reads the meta record; a new store has none.
func metaOf(txn *badger.Txn, on side) (m meta, err error) {
	item, err := txn.Get(on.at(metaKey))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return meta{}, nil
	}
	if err != nil {
		return m, err
	}
	err = item.Value(func(v []byte) error {
		m, err = parseMeta(v)
		return err
	})
	return m, err
}

// Close closes the store. Calls that still run end first; later ones get
// ErrClosed.
func (s *Store) Close() error {
	s.closeMu.Lock()
	defer s.closeMu.Unlock()
	if s.closed {
		return nil
	}
	started := time.Now()
	s.closed = true
	if err := s.space.admit(evictGuard); err != nil {
		// Badger would write what is in memory to a mapped table, and be killed. The
		// log has it all: the next start reads it as after a crash.
		s.logger.Warn("action cache is closed without tidying up", "error", err)
		return nil
	}
	err := errors.Join(s.db.Close(), s.lock.Release())
	s.logger.Info("action cache is closed", "duration", time.Since(started))
	if err != nil {
		return fmt.Errorf("close action cache: %w", err)
	}
	return nil
}

// use keeps the store open until the returned function is called.
func (s *Store) use() (func(), error) {
	s.closeMu.RLock()
	if s.closed {
		s.closeMu.RUnlock()
		return nil, ErrClosed
	}
	return s.closeMu.RUnlock, nil
}

// AppliedIndex is the index of the last Apply; 0 when there was none.
func (s *Store) AppliedIndex() uint64 { return s.applied.Load() }

// Stats returns figures for people and metrics.
func (s *Store) Stats() Stats {
	return Stats{
		Entries: s.entries.Load(), DiskBytes: diskUse(s.opt.Dir),
		MemoBytes: int64(s.results.size() + s.nodes.size() + s.marks.size()),
		Hits:      s.counters.hits.Load(), Misses: s.counters.misses.Load(),
		Incomplete: s.counters.incomplete.Load(), Evicted: s.counters.evicted.Load(),
	}
}
