package queue

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Import replaces everything that the store holds by what Export wrote, in one
// transaction: readers see all of it or nothing. A store that has applied as much
// already is left as it is, unless replace is set. After an error nothing has
// changed, but for ErrInconsistent; ErrState when from is no export of this
// version's schema.
func (s *Store) Import(ctx context.Context, from io.Reader, replace bool) error {
	if err := s.importFrom(ctx, bufio.NewReader(from), replace); err != nil {
		return fmt.Errorf("import queue: %w", err)
	}
	return nil
}

func (s *Store) importFrom(ctx context.Context, r *bufio.Reader, replace bool) error {
	m, err := readHead(r)
	if err != nil {
		return err
	}
	tx, err := s.Begin(ctx)
	if err != nil {
		return err
	}
	if m.index <= s.meta.index && !replace {
		return tx.Rollback()
	}
	if err := tx.load(ctx, r, m); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.swap(ctx)
}

// readHead reads what comes before the tables.
func readHead(r *bufio.Reader) (meta, error) {
	var head [4]int64
	for i := range head {
		n, err := binary.ReadVarint(r)
		if err != nil {
			return meta{}, stateError(err)
		}
		head[i] = n
	}
	if head[0] != int64(len(migrations)) {
		return meta{}, fmt.Errorf("%w: its schema has version %d, and this build has %d", ErrState, head[0], len(migrations))
	}
	if head[1] < 0 || head[2] < 0 || head[3] < 1 {
		return meta{}, fmt.Errorf("%w: its numbers are negative", ErrState)
	}
	return meta{index: uint64(head[1]), time: instant(head[2]), nextSeq: head[3]}, nil
}

// stateError says that an export ended where it should not.
func stateError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends early", ErrState)
	}
	return err
}

// load replaces the rows, without a commit.
func (tx *Tx) load(ctx context.Context, r *bufio.Reader, m meta) error {
	w := tx.s.w
	if !tx.start() {
		return tx.err
	}
	for _, t := range transferred {
		if err := w.run(ctx, "DELETE FROM "+t.name); err != nil {
			return databaseError(err)
		}
	}
	for _, t := range transferred {
		if err := w.loadTable(ctx, r, t.name, t.columns); err != nil {
			return fmt.Errorf("table %s: %w", t.name, databaseError(stateError(err)))
		}
	}
	tx.meta = m
	tx.exec(w.saveMeta, int64(m.index), nanos(m.time), m.nextSeq)
	return tx.err
}

func (w *writer) loadTable(ctx context.Context, r *bufio.Reader, table string, columns int) error {
	insert, err := w.prepareOnce(ctx, "INSERT INTO "+table+" VALUES ("+strings.Repeat("?,", columns-1)+"?)")
	if err != nil {
		return err
	}
	defer insert.Close()
	values := make([]any, columns)
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		more, err := r.ReadByte()
		if err != nil {
			return err
		}
		if more == 0 {
			return nil
		}
		for i := range values {
			if values[i], err = readValue(r); err != nil {
				return err
			}
		}
		if _, err := insert.exec(values...); err != nil {
			return err
		}
	}
}

// swap commits what load wrote, and reads memory anew; readers of memory wait so
// long.
func (tx *Tx) swap(ctx context.Context) error {
	defer tx.end()
	s := tx.s
	c, err := s.readers.Conn(ctx) // now: a reader that waits for the lock may have the last one
	if err != nil {
		return errors.Join(err, tx.undo())
	}
	defer c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if tx.exec(s.w.commit); tx.err != nil {
		return errors.Join(tx.err, tx.undo())
	}
	read, err := c.BeginTx(context.WithoutCancel(ctx), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("%w: memory is not what the tables are: %w", ErrInconsistent, err)
	}
	defer read.Rollback()
	l, err := loadLive(context.WithoutCancel(ctx), read)
	if err != nil {
		return fmt.Errorf("%w: memory is not what the tables are: %w", ErrInconsistent, err)
	}
	s.live, s.meta = l, tx.meta
	return nil
}
