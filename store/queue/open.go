package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"modernc.org/sqlite"
)

// Options say where a Store is.
type Options struct {
	Path string // of the database file; its directory exists
	// LazySync leaves it to Sync to make commits survive a power loss, for a store
	// whose commands are in a durable log besides. They survive SIGKILL.
	LazySync bool
	Logger   *slog.Logger // nil: slog.Default()
}

// Store keeps jobs, operations and sessions. One transaction at a time changes
// it; readers run beside that. All methods are safe for concurrent use.
type Store struct {
	log     *slog.Logger
	lazy    bool   // Options.LazySync
	path    string // absolute
	readers *sql.DB
	byID    *sql.Stmt // on readers: an operation with its job

	turn   chan struct{} // holds one token; who has it may use w and change what mu guards
	once   sync.Once
	closed chan struct{}
	w      *writer

	mu   sync.RWMutex // guards what follows against readers
	live live
	meta meta
}

// meta is the row that says how far the store has come.
type meta struct {
	index   uint64
	time    time.Time
	nextSeq int64
}

// Open opens or makes the database, brings its schema up to date, and loads
// what is unfinished. A file that a newer version wrote is refused.
//
// Side effect on the process: SQLite's commits use fdatasync from here on.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{log: o.Logger, lazy: o.LazySync, turn: make(chan struct{}, 1), closed: make(chan struct{})}
	if s.log == nil {
		s.log = slog.Default()
	}
	start := time.Now()
	if err := s.open(ctx, o.Path); err != nil {
		return nil, fmt.Errorf("open queue %s: %w", o.Path, errors.Join(databaseError(err), s.release()))
	}
	s.turn <- struct{}{}
	s.log.Info("opened the queue", "path", o.Path, "jobs", len(s.live.jobs), "sessions", len(s.live.sessions),
		"index", s.meta.index, "took", time.Since(start))
	return s, nil
}

func (s *Store) open(ctx context.Context, path string) error {
	// Half the time of a commit on ext4, and no less durable: the write-ahead
	// log is overwritten in place, so only its times change otherwise.
	if _, err := sqlite.Fdatasync(true); err != nil && !errors.Is(err, sqlite.ErrFdatasyncUnavailable) {
		return err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	s.path = abs
	if err := probe(abs); err != nil {
		return err
	}
	if s.w, err = openWriter(ctx, abs, s.lazy); err != nil {
		return err
	}
	if s.readers, err = openReaders(abs); err != nil {
		return err
	}
	if s.byID, err = s.readers.PrepareContext(ctx, selectOperation); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	return s.load(ctx)
}

// probe makes the file where there is none, for nobody else's eyes, and says why
// it cannot be written: SQLite only says that it cannot be opened.
func probe(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return fmt.Errorf("open it for writing: %w", pe.Err)
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// load reads what is unfinished into memory.
func (s *Store) load(ctx context.Context) error {
	tx, err := s.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if s.meta, err = loadMeta(ctx, tx); err != nil {
		return err
	}
	s.live, err = loadLive(ctx, tx)
	return err
}

// AppliedIndex returns the index of the last committed group that changed the
// store; 0 when there was none.
func (s *Store) AppliedIndex() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.meta.index
}

// AppliedTime returns the time of the group of AppliedIndex.
func (s *Store) AppliedTime() time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.meta.time
}

// Close waits for the open transaction and closes the database. Further
// transactions are refused with ErrClosed.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		<-s.turn
		close(s.closed)
		err = s.release()
	})
	return err
}

// release closes what is open.
func (s *Store) release() error {
	var errs []error
	if s.byID != nil {
		errs = append(errs, s.byID.Close())
	}
	if s.readers != nil {
		errs = append(errs, s.readers.Close())
	}
	if s.w != nil {
		errs = append(errs, s.w.close())
	}
	return errors.Join(errs...)
}

// dsn returns the data source name of the file with SQLite's settings.
func dsn(path string, pragmas ...string) string {
	q := url.Values{"_busy_timeout": {"10000"}, "_dqs": {"0"}, "_error_rc": {"1"}}
	for _, p := range pragmas {
		q.Add("_pragma", p)
	}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: q.Encode()}).String()
}

// openReaders returns the pool of connections that only read.
func openReaders(path string) (*sql.DB, error) {
	c, err := sqlite.NewConnector(dsn(path, "query_only(1)", "cache_size(-1024)", "temp_store(memory)"))
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(2)
	db.SetConnMaxIdleTime(time.Minute)
	return db, nil
}
