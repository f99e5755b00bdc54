package cas

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

	"github.com/bgrid-node/bgrid-node/store/engine"
)

// Store is the blobs of one node. Its methods may be called concurrently.
type Store struct {
	opt    Options
	geo    geometry
	logger *slog.Logger
	protection

	// ringMu guards which generations there are and which indexes they have.
	// Whoever looks a blob up and relies on it holds it shared until the use is
	// noted or the generation pinned; so nothing in use is ever dropped.
	ringMu sync.RWMutex
	gens   []*generation // newest first
	lanes  [laneCount]*lane

	reshape  sync.Mutex   // sealed generations are dropped or get another index
	spilling sync.RWMutex // shared while an index is written

	nextID atomic.Uint32

	space       *space
	writers     writerSet
	lossEpoch   atomic.Uint64
	counters    counters
	buffers     buffers
	maintenance chan struct{} // one token: look at the lanes
	toSeal      chan *generation
	cleaning    chan struct{} // one token: look at the space

	lock     *engine.Lock
	closing  atomic.Bool
	done     chan struct{}
	tasks    sync.WaitGroup
	closeErr error
	once     sync.Once
}

const lockName = "LOCK"

// Open opens the store in o.Dir, or makes a new one. It reads nothing but index
// headers and what was written since the last spill. ErrLocked when another
// process has it open.
func Open(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("open content-addressable storage: %w", err)
	}
	started := time.Now()
	s := &Store{
		opt: o, geo: geometryOf(o.MaxBytes), logger: o.Logger, protection: protectionOf(o.ProtectionWindow),
		maintenance: make(chan struct{}, 1), cleaning: make(chan struct{}, 1),
		toSeal: make(chan *generation, 64), done: make(chan struct{}),
	}
	s.space = newSpace(s)
	for k := range laneCount {
		s.lanes[k] = &lane{store: s, kind: k, eased: make(chan struct{})}
	}
	if err := s.open(ctx); err != nil {
		s.abandon()
		return nil, fmt.Errorf("open content-addressable storage in %s: %w", o.Dir, err)
	}
	s.start()
	s.logger.Info("content-addressable storage is open", "dir", o.Dir,
		"blobs", s.Stats().Blobs, "disk_bytes", s.space.used(), "duration", time.Since(started))
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	if err := os.MkdirAll(s.opt.Dir, 0o755); err != nil {
		return err
	}
	if err := s.acquire(); err != nil {
		return err
	}
	if err := checkFormat(s.opt.Dir); err != nil {
		return err
	}
	if err := s.load(ctx); err != nil {
		return err
	}
	return s.lanes[laneFresh].ensure()
}

// acquire takes the lock file.
func (s *Store) acquire() error {
	lock, err := engine.Acquire(filepath.Join(s.opt.Dir, lockName))
	if errors.Is(err, engine.ErrHeld) {
		return ErrLocked
	}
	if err != nil {
		return err
	}
	s.lock = lock
	return nil
}

// start begins the work in the background.
func (s *Store) start() {
	for _, task := range []func(){s.maintain, s.seal, s.clean, s.scrub, s.verifyIndexes} {
		s.tasks.Go(task)
	}
	s.wake(s.maintenance)
	s.wake(s.cleaning)
}

// wake leaves a token for a task, if there is none yet.
func (s *Store) wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// createGeneration opens a new, empty generation that nobody sees yet.
func (s *Store) createGeneration(k laneKind) (*generation, error) {
	g := s.newGeneration(s.nextID.Add(1), k)
	g.active = newMemIndex()
	if err := g.openWritable(); err != nil {
		return nil, errors.Join(err, g.closeFiles())
	}
	if err := syncDir(s.opt.Dir); err != nil {
		return nil, errors.Join(err, g.closeFiles())
	}
	g.measure()
	return g, nil
}

func (s *Store) newGeneration(id uint32, k laneKind) *generation {
	return &generation{
		id: id, lane: k, geo: s.geo, logger: s.logger, pools: &s.buffers,
		dir: filepath.Join(s.opt.Dir, generationName(id, k)),
	}
}

// publish makes a generation visible.
func (s *Store) publish(g *generation) {
	s.ringMu.Lock()
	defer s.ringMu.Unlock()
	gens := make([]*generation, 0, len(s.gens)+1)
	at := 0
	for at < len(s.gens) && s.gens[at].id > g.id {
		at++
	}
	gens = append(gens, s.gens[:at]...)
	gens = append(gens, g)
	s.gens = append(gens, s.gens[at:]...)
}

// ring returns the generations, newest first. The slice is never changed.
func (s *Store) ring() []*generation {
	s.ringMu.RLock()
	defer s.ringMu.RUnlock()
	return s.gens
}

// Close ends the background work, makes everything durable and closes the
// store. Calls that still run get ErrClosed.
func (s *Store) Close() error {
	s.once.Do(func() {
		started := time.Now()
		s.closing.Store(true)
		close(s.done)
		s.tasks.Wait()
		s.closeErr = s.shut()
		s.logger.Info("content-addressable storage is closed", "duration", time.Since(started))
	})
	return s.closeErr
}

// shut spills and closes everything. On a full disk it only closes what is not
// written to: Badger would write a table into a mapping and be killed. The next
// start finds it as after a crash.
func (s *Store) shut() error {
	var errs []error
	full := s.space.diskFull()
	if full {
		s.logger.Warn("the disk is full: content-addressable storage is closed without tidying up")
	}
	for _, l := range s.lanes {
		l.mu.Lock() // whoever commits is done, and nobody begins
		g := l.current
		l.mu.Unlock()
		if g != nil && !full {
			errs = append(errs, s.spill(l, g, false))
		}
		if g := l.next; g != nil {
			errs = append(errs, g.closeFiles(), os.RemoveAll(g.dir))
		}
	}
	s.ringMu.Lock()
	gens := s.gens
	s.gens = nil
	s.ringMu.Unlock()
	for _, g := range gens {
		g.pins.Wait()
		if full && !g.sealed.Load() {
			g.leave()
		}
		errs = append(errs, g.closeFiles())
		for _, r := range g.runs {
			errs = append(errs, r.syncStamps())
			r.release()
		}
	}
	return errors.Join(append(errs, s.lock.Release())...)
}

// abandon gives up a store that could not be opened.
func (s *Store) abandon() {
	s.closing.Store(true)
	for _, g := range s.gens {
		_ = g.closeFiles()
		for _, r := range g.runs {
			r.release()
		}
	}
	if s.lock != nil {
		_ = s.lock.Release()
	}
}

// Bucket is the time for which a caller may remember that a blob was found
// present: a use protects for the window and one bucket.
func (s *Store) Bucket() time.Duration { return s.bucket }

// Window is the protection window in force.
func (s *Store) Window() time.Duration { return s.window }

// LossEpoch grows when blobs were lost that somebody may rely on: what callers
// remember about presence must be dropped then.
func (s *Store) LossEpoch() uint64 { return s.lossEpoch.Load() }

// MaxBlobBytes is the size of the largest blob that a client can store.
func (s *Store) MaxBlobBytes() int64 { return min(maxBlobSize, s.geo.uploadLimit) }
