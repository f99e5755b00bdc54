package actioncache

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/dgraph-io/badger/v4"
)

// An export is the meta record, the entries from the oldest on, and an end:
//
//	meta
//	1 sequence[8] length of key[4] key length of record[4] record
//	0
//
// maxPart bounds a key or a record in it.
const maxPart = MaxInline + maxInstance + 1<<10

// ErrState means that what is to be imported is no export, or that of another
// version.
var ErrState = errors.New("not a state of the action cache that this version can read")

// Export writes everything that the store holds, as of one Apply, with its index.
// Applies go on meanwhile.
func (s *Store) Export(ctx context.Context, to io.Writer) error {
	w := bufio.NewWriter(to)
	err := s.view(func(txn *badger.Txn) error {
		m, err := metaOf(txn, s.side)
		if err != nil {
			return err
		}
		if _, err := w.Write(m.bytes()); err != nil {
			return err
		}
		it := txn.NewIterator(badger.IteratorOptions{Prefix: s.side.at([]byte{orderPrefix})})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := exportEntry(w, txn, s.side, it.Item()); err != nil {
				return err
			}
		}
		if err := w.WriteByte(0); err != nil {
			return err
		}
		return w.Flush()
	})
	if err != nil {
		return fmt.Errorf("export action cache: %w", err)
	}
	return nil
}

func exportEntry(w *bufio.Writer, txn *badger.Txn, on side, order *badger.Item) error {
	at, err := order.ValueCopy(nil)
	if err != nil {
		return err
	}
	item, err := txn.Get(on.at(at))
	if err != nil {
		return fmt.Errorf("entry %x: %w", at, err)
	}
	return item.Value(func(v []byte) error {
		b := binary.BigEndian.AppendUint64([]byte{1}, orderOf(on.strip(order.Key())))
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(at))), at...)
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
		_, err := w.Write(b)
		return err
	})
}

// Import replaces everything that the store holds by what Export wrote, and is
// durable when it returns. Readers see all of it or nothing. A store that has
// applied as much already is left as it is, unless replace is set. After an error
// nothing has changed; ErrState when from is no export of this version.
func (s *Store) Import(ctx context.Context, from io.Reader, replace bool) error {
	if err := s.importFrom(ctx, bufio.NewReader(from), replace); err != nil {
		return fmt.Errorf("import action cache: %w", err)
	}
	return nil
}

func (s *Store) importFrom(ctx context.Context, r *bufio.Reader, replace bool) error {
	head := make([]byte, metaLen)
	if _, err := io.ReadFull(r, head); err != nil {
		return stateError(err)
	}
	m, err := parseMeta(head)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	done, err := s.use()
	if err != nil {
		return err
	}
	defer done()
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	if m.applied <= s.meta.applied && !replace {
		return nil
	}
	if s.broken != nil {
		return s.broken
	}
	if err := s.tidy(); err != nil {
		return err
	}
	l := loading{s: s, side: s.side.other(), r: r}
	if err := l.all(ctx, m); err != nil {
		return errors.Join(err, s.tidy())
	}
	return s.turn(l.side, m)
}

// turn makes a side the live one, and empties the other.
func (s *Store) turn(to side, m meta) error {
	s.sideMu.Lock()
	err := s.db.Update(func(txn *badger.Txn) error { return txn.Set(sideKey, []byte{byte(to)}) })
	if err = errors.Join(err, s.logs.sync()); err != nil {
		s.broken = err // nobody knows which side is on the disk
		s.sideMu.Unlock()
		return err
	}
	s.side, s.meta = to, m
	s.results.clear()
	s.applied.Store(m.applied)
	s.entries.Store(int64(m.entries))
	s.sideMu.Unlock()
	if err := s.tidy(); err != nil {
		s.logger.Warn("cannot remove what an import replaced: the next start does", "error", err)
	}
	return nil
}

// loading fills the side that is not live.
type loading struct {
	s       *Store
	side    side
	r       *bufio.Reader
	txn     *badger.Txn
	size    int // bytes written in txn, about
	entries uint64
}

func (l *loading) all(ctx context.Context, m meta) error {
	l.txn = l.s.db.NewTransaction(true)
	defer func() { l.txn.Discard() }()
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		more, err := l.r.ReadByte()
		if err != nil {
			return stateError(err)
		}
		if more == 0 {
			break
		}
		if err := l.entry(m); err != nil {
			return err
		}
		if l.size > splitBytes {
			if err := l.commit(); err != nil {
				return err
			}
			l.txn, l.size = l.s.db.NewTransaction(true), 0
		}
	}
	if l.entries != m.entries {
		return fmt.Errorf("%w: %d entries are counted, %d are there", ErrState, m.entries, l.entries)
	}
	if err := l.txn.Set(l.side.at(metaKey), m.bytes()); err != nil {
		return err
	}
	return l.commit()
}

// entry reads an entry and writes it.
func (l *loading) entry(m meta) error {
	seq := make([]byte, 8)
	if _, err := io.ReadFull(l.r, seq); err != nil {
		return stateError(err)
	}
	at, err := l.part()
	if err != nil {
		return err
	}
	value, err := l.part()
	if err != nil {
		return err
	}
	n := binary.BigEndian.Uint64(seq)
	if _, err := parseKey(at); err != nil || n < m.oldest || n >= m.next {
		return fmt.Errorf("%w: entry %x at %d", ErrState, at, n)
	}
	if rec, err := parseRecord(value); err != nil || rec.seq != n {
		return fmt.Errorf("%w: the record of entry %x", ErrState, at)
	}
	l.entries++
	l.size += 2*len(at) + len(value) + 64
	return errors.Join(l.txn.Set(l.side.at(at), value), l.txn.Set(l.side.at(orderKey(n)), at))
}

// part reads a key or a record.
func (l *loading) part() ([]byte, error) {
	var n [4]byte
	if _, err := io.ReadFull(l.r, n[:]); err != nil {
		return nil, stateError(err)
	}
	size := binary.BigEndian.Uint32(n[:])
	if size > maxPart {
		return nil, fmt.Errorf("%w: a part of %d bytes, at most %d are allowed", ErrState, size, maxPart)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(l.r, b); err != nil {
		return nil, stateError(err)
	}
	return slices.Clip(b), nil
}

// commit writes what was read so far, if the disk has room for it.
func (l *loading) commit() error {
	if err := l.s.space.admit(guard); err != nil {
		return err
	}
	if err := l.txn.Commit(); err != nil {
		return err
	}
	return l.s.logs.sync()
}

// stateError says that an export ended where it should not.
func stateError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends early", ErrState)
	}
	return err
}
