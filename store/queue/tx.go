package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Tx is a transaction: a group of commands that is committed as one. One
// goroutine uses it. There is one method for each message of queuepb; each
// decides before it writes, so one that is refused has changed nothing.
//
// A method returns an error that wraps one of this package's sentinels when it
// refuses. Any other error is the database's: the transaction is lost then, Err
// returns it, and only Rollback is left.
type Tx struct {
	s        *Store
	open     bool // BEGIN was executed
	changes  int
	nextSeq  int64
	err      error
	jobs     map[string]*liveJob   // changed, completed ones too
	ops      map[string]*Operation // changed; nil: deleted
	sessions map[string]*Session   // changed; nil: closed
	events   []Event
	writes   []ActionCacheWrite
	prepared bool
	meta     meta
}

// Begin waits for its turn and begins a transaction. It must be ended by Commit
// or Rollback.
func (s *Store) Begin(ctx context.Context) (*Tx, error) {
	select {
	case <-s.turn:
	case <-s.closed:
		return nil, fmt.Errorf("begin a transaction: %w", ErrClosed)
	case <-ctx.Done():
		return nil, fmt.Errorf("begin a transaction: %w", ctx.Err())
	}
	return &Tx{
		s:        s,
		nextSeq:  s.meta.nextSeq,
		jobs:     map[string]*liveJob{},
		ops:      map[string]*Operation{},
		sessions: map[string]*Session{},
	}, nil
}

// Err returns why the transaction is lost; nil while it is not.
func (tx *Tx) Err() error { return tx.err }

// Changes grows with each command that may have changed something: it depends on
// nothing but the store's state and the commands. 0: there is nothing to commit.
func (tx *Tx) Changes() int { return tx.changes }

// Events returns what the accepted commands did, in order.
func (tx *Tx) Events() []Event { return tx.events }

// ActionCacheWrites returns what the accepted commands ask of the action cache,
// in order. It is to be durable there before Commit.
func (tx *Tx) ActionCacheWrites() []ActionCacheWrite { return tx.writes }

// Prepare does the work of Commit except for making it durable, so that it can
// run beside something that Commit has to wait for.
func (tx *Tx) Prepare(index uint64, at time.Time) error {
	tx.meta = meta{index: index, time: instant(at.UnixNano()), nextSeq: tx.nextSeq}
	tx.exec(tx.s.w.saveMeta, int64(index), nanos(tx.meta.time), tx.nextSeq)
	tx.prepared = tx.err == nil
	return tx.err
}

// Commit makes the transaction durable and visible, with the index and time that
// the store has applied by it. When it fails nothing has changed, and the
// transaction has been rolled back: whether it comes back after a crash is
// unknown only if the disk failed while it synced.
func (tx *Tx) Commit(index uint64, at time.Time) error {
	defer tx.end()
	if !tx.prepared {
		tx.Prepare(index, at)
	}
	if tx.err == nil {
		tx.exec(tx.s.w.commit)
	}
	if tx.err != nil {
		return fmt.Errorf("commit queue: %w", errors.Join(tx.err, tx.undo()))
	}
	tx.s.mu.Lock()
	defer tx.s.mu.Unlock()
	tx.s.live.merge(tx)
	tx.s.meta = tx.meta
	return nil
}

// Rollback forgets the transaction.
func (tx *Tx) Rollback() error {
	defer tx.end()
	if err := tx.undo(); err != nil {
		return fmt.Errorf("roll back queue: %w", err)
	}
	return nil
}

// undo rolls back. After a full disk SQLite may have done so by itself; to say
// that no transaction is open is the only way that ROLLBACK has of failing with
// a plain SQLITE_ERROR.
func (tx *Tx) undo() error {
	if !tx.open {
		return nil
	}
	_, err := tx.s.w.rollback.exec()
	var se *sqlite.Error
	if errors.As(err, &se) && se.Code() == sqlite3.SQLITE_ERROR {
		return nil
	}
	return err
}

// end gives the turn to the next transaction.
func (tx *Tx) end() {
	if tx.s != nil {
		tx.s.turn <- struct{}{}
		tx.s = nil
	}
}

// exec executes a statement, beginning the transaction at the first, and returns
// how many rows changed. After an error it does nothing.
func (tx *Tx) exec(s *stmt, args ...any) int64 {
	if !tx.start() {
		return 0
	}
	tx.changes++
	n, err := s.exec(args...)
	tx.err = databaseError(err)
	return n
}

// start begins the transaction in the database, unless it was begun, and tells
// whether it is not lost.
func (tx *Tx) start() bool {
	if tx.err == nil && !tx.open {
		_, err := tx.s.w.begin.exec()
		tx.err, tx.open = databaseError(err), err == nil
	}
	return tx.err == nil
}

// update executes a statement that must change exactly one row: anything else
// means that memory and tables have parted.
func (tx *Tx) update(s *stmt, args ...any) {
	if n := tx.exec(s, args...); tx.err == nil && n != 1 {
		tx.err = fmt.Errorf("%w: %d rows changed, want 1", ErrInconsistent, n)
	}
}

// exists tells whether a statement finds a row.
func (tx *Tx) exists(s *stmt, args ...any) bool {
	if tx.err != nil {
		return false
	}
	found, err := s.exists(args...)
	tx.err = databaseError(err)
	return found
}

// put makes j the job's state in this transaction.
func (tx *Tx) put(j *liveJob) { tx.jobs[j.ID] = j }

// emit adds events.
func (tx *Tx) emit(events ...Event) { tx.events = append(tx.events, events...) }

// job returns an unfinished job. Otherwise the error says whether it is
// completed or not there.
func (tx *Tx) job(id string) (*liveJob, error) {
	j, changed := tx.jobs[id]
	if !changed {
		j = tx.s.live.jobs[id]
	}
	if j != nil && j.Stage != Completed {
		return j, nil
	}
	if tx.exists(tx.s.w.findJob, id) {
		return nil, fmt.Errorf("%w: job %s", ErrCompleted, id)
	}
	return nil, tx.or(fmt.Errorf("%w: job %s", ErrNotFound, id))
}

// operation returns an operation with its unfinished job. Otherwise the error
// says whether its job is completed or it is not there.
func (tx *Tx) operation(id string) (*Operation, *liveJob, error) {
	o, changed := tx.ops[id]
	if !changed {
		o = tx.s.live.ops[id]
	}
	if o != nil {
		if j, err := tx.job(o.JobID); err == nil {
			return o, j, nil
		}
	}
	if tx.exists(tx.s.w.findOperation, id) {
		return nil, nil, fmt.Errorf("%w: operation %s", ErrCompleted, id)
	}
	return nil, nil, tx.or(fmt.Errorf("%w: operation %s", ErrNotFound, id))
}

// session returns an open session, or nil.
func (tx *Tx) session(id string) *Session {
	if s, changed := tx.sessions[id]; changed {
		return s
	}
	return tx.s.live.sessions[id]
}

// assigned returns the job that a session has with this attempt. The session ""
// with the job's own attempt stands for a job that no session has.
func (tx *Tx) assigned(id string, attempt int32, session string) (*liveJob, error) {
	j, err := tx.job(id)
	if errors.Is(err, ErrCompleted) {
		return nil, fmt.Errorf("%w: %w", ErrStale, err)
	}
	if err != nil {
		return nil, err
	}
	if j.Attempt != attempt || j.SessionID != session {
		return nil, fmt.Errorf("%w: job %s has attempt %d of session %q, not %d of %q", ErrStale, id, j.Attempt, j.SessionID, attempt, session)
	}
	return j, nil
}

// or returns the database's error if there is one, else err.
func (tx *Tx) or(err error) error {
	if tx.err != nil {
		return tx.err
	}
	return err
}
