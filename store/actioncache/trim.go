package actioncache

import (
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// trim removes the entries that were written longest ago while there are too
// many. It looks at nothing but what the command log wrote, so that every member
// of a cluster removes the same.
func (a *applying) trim() error {
	most := uint64(a.s.opt.MaxEntries)
	for most > 0 && a.meta.entries > most {
		oldest, err := a.order.next(a)
		if err != nil {
			return err
		}
		k, err := parseKey(oldest.at)
		if err != nil {
			return err
		}
		if err := a.remove(k, oldest.at, oldest.seq); err != nil {
			return err
		}
		a.meta.oldest = oldest.seq + 1
	}
	return nil
}

// order walks the entries from the oldest on: first those that were there when
// the transaction began, then what it wrote itself. Badger's iterator over an
// open transaction would sort all of its writes each time.
type order struct {
	gone    map[uint64]struct{} // order keys that the transaction removed
	written []written           // by it, oldest first
	txn     *badger.Txn         // the state before it
	it      *badger.Iterator
}

// written is an order key and the entry that it names.
type written struct {
	seq uint64
	at  []byte
}

func (o *order) next(a *applying) (written, error) {
	if o.it == nil {
		o.txn = a.s.db.NewTransaction(false)
		o.it = o.txn.NewIterator(badger.IteratorOptions{Prefix: a.side.at([]byte{orderPrefix})})
		o.it.Seek(a.side.at(orderKey(a.meta.oldest))) // what is below is gone, and would only be waded through
	}
	for ; o.it.Valid(); o.it.Next() {
		seq := orderOf(a.side.strip(o.it.Item().Key()))
		if _, gone := o.gone[seq]; gone {
			continue
		}
		at, err := o.it.Item().ValueCopy(nil)
		return written{seq, at}, err
	}
	for len(o.written) > 0 {
		w := o.written[0]
		o.written = o.written[1:]
		if _, gone := o.gone[w.seq]; !gone {
			return w, nil
		}
	}
	return written{}, fmt.Errorf("%w: %d entries, and none in order", ErrInconsistent, a.meta.entries)
}

// close may be called again.
func (o *order) close() {
	if o.it != nil {
		o.it.Close()
		o.txn.Discard()
		o.it = nil
	}
}
