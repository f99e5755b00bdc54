package actioncache

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// splitBytes bounds what one transaction holds before the next begins, well
// below what Badger takes (15 % of a memtable) with one more write on top.
const splitBytes = memTable / 12

// maxInstance bounds an instance name in bytes: it is part of a key.
const maxInstance = 4 << 10

// Apply makes the writes durable before it returns, and remembers index. An
// index that is not above AppliedIndex was applied before and is skipped. After
// an error nothing is acknowledged; *cas.FullError when the disk is full. An
// error of the disk is final.
//
// A group is one transaction, so that its entries and its index are one. Only a
// group of more than splitBytes is written in several, the last of which has the
// index: applied again, it gives the same (DESIGN.md).
func (s *Store) Apply(index uint64, ws []Write) error {
	if err := s.apply(index, ws); err != nil {
		return fmt.Errorf("apply to action cache at %d: %w", index, err)
	}
	return nil
}

func (s *Store) apply(index uint64, ws []Write) error {
	done, err := s.use()
	if err != nil {
		return err
	}
	defer done()
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	if index <= s.meta.applied {
		return nil
	}
	if s.broken != nil {
		return s.broken
	}
	if err := s.admit(ws); err != nil {
		return err
	}
	a := applying{s: s, side: s.side, index: index, meta: s.meta}
	a.meta.begun = max(a.meta.begun, index)
	if err := a.all(ws); err != nil {
		s.broken = err
		return err
	}
	if err := s.logs.sync(); err != nil {
		s.broken = err
		return err
	}
	s.applied.Store(index)
	return nil
}

// admit refuses what cannot be written, before anything is.
func (s *Store) admit(ws []Write) error {
	puts := false
	for i := range ws {
		if n := len(ws[i].Result); n > MaxInline {
			return fmt.Errorf("a result of %d bytes inline: at most %d are taken", n, MaxInline)
		}
		if n := len(ws[i].Instance); n > maxInstance {
			return fmt.Errorf("an instance name of %d bytes: at most %d are taken", n, maxInstance)
		}
		puts = puts || !ws[i].Evict
	}
	if !puts {
		return s.space.admit(evictGuard)
	}
	return s.space.admit(guard)
}

// applying is one Apply.
type applying struct {
	s       *Store
	side    side
	index   uint64
	meta    meta
	txn     *badger.Txn
	size    int   // bytes written in txn, about
	touched []key // in txn
	evicted int64
	order   order
}

func (a *applying) all(ws []Write) error {
	a.begin()
	defer a.end()
	for i := range ws {
		if a.size > splitBytes {
			if err := a.commit(); err != nil {
				return err
			}
			a.begin()
		}
		if err := a.write(&ws[i]); err != nil {
			return err
		}
	}
	a.meta.applied = a.index
	return a.commit()
}

func (a *applying) begin() {
	a.txn, a.size, a.touched, a.evicted = a.s.db.NewTransaction(true), 0, nil, 0
	a.order = order{gone: make(map[uint64]struct{})}
}

func (a *applying) end() {
	a.order.close()
	a.txn.Discard()
}

// commit ends a transaction; what memory knows of its entries is forgotten once
// the new ones can be read.
func (a *applying) commit() error {
	if err := a.set(metaKey, a.meta.bytes()); err != nil {
		return err
	}
	a.order.close()
	if err := a.txn.Commit(); err != nil {
		return err
	}
	for _, k := range a.touched {
		a.s.results.drop(k)
	}
	a.s.meta = a.meta
	a.s.entries.Store(int64(a.meta.entries))
	a.s.counters.evicted.Add(a.evicted)
	return nil
}

func (a *applying) write(w *Write) error {
	index := w.Index
	if index == 0 {
		index = a.index
	}
	k := key{w.Instance, w.Action}
	at := k.bytes()
	old, exists, err := headerOf(a.txn, a.side.at(at))
	if err != nil {
		return err
	}
	if w.Evict {
		if !exists || old.index > w.IfWrittenAtOrBefore {
			return nil
		}
		return a.remove(k, at, old.seq)
	}
	if exists {
		if err := a.forget(old.seq); err != nil {
			return err
		}
	} else {
		a.meta.entries++
	}
	r := record{index: index, seq: a.meta.next, blob: w.ResultBlob, result: w.Result}
	a.meta.next++
	a.touched = append(a.touched, k)
	a.order.written = append(a.order.written, written{r.seq, at})
	if err := errors.Join(a.set(at, r.bytes()), a.set(orderKey(r.seq), at)); err != nil {
		return err
	}
	return a.trim()
}

func (a *applying) remove(k key, at []byte, seq uint64) error {
	a.meta.entries--
	a.evicted++
	a.touched = append(a.touched, k)
	return errors.Join(a.delete(at), a.forget(seq))
}

// forget removes an order key.
func (a *applying) forget(seq uint64) error {
	a.order.gone[seq] = struct{}{}
	return a.delete(orderKey(seq))
}

func (a *applying) set(k, v []byte) error {
	a.size += len(k) + len(v) + 32
	return a.txn.Set(a.side.at(k), v)
}

func (a *applying) delete(k []byte) error {
	a.size += len(k) + 32
	return a.txn.Delete(a.side.at(k))
}
