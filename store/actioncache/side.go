package actioncache

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// side is one of the two places where entries can lie. The other one is empty but
// while an import fills it; then one write makes that the live one.
type side byte

// sideKey holds the live side; a store that never imported has none, and lives on
// side 0, whose keys are as they are.
var sideKey = []byte("side")

// otherPrefix comes before the keys of side 1.
const otherPrefix = 't'

func (s side) other() side { return 1 - s }

// at returns where a key lies on this side.
func (s side) at(k []byte) []byte {
	if s == 0 {
		return k
	}
	return append([]byte{otherPrefix}, k...)
}

// strip is the inverse of at.
func (s side) strip(k []byte) []byte { return k[s:] }

// prefixes are of all keys of the side.
func (s side) prefixes() [][]byte {
	if s == 0 {
		return [][]byte{metaKey, {entryPrefix}, {orderPrefix}}
	}
	return [][]byte{{otherPrefix}}
}

func sideOf(txn *badger.Txn) (s side, err error) {
	item, err := txn.Get(sideKey)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	err = item.Value(func(v []byte) error {
		if len(v) != 1 || v[0] > 1 {
			return fmt.Errorf("%w: %x is no side", ErrInconsistent, v)
		}
		s = side(v[0])
		return nil
	})
	return s, err
}

// tidy empties the other side, if an import was interrupted.
func (s *Store) tidy() error {
	other, used := s.side.other(), false
	err := s.db.View(func(txn *badger.Txn) error {
		for _, p := range other.prefixes() {
			it := txn.NewIterator(badger.IteratorOptions{Prefix: p})
			it.Rewind()
			used = used || it.Valid()
			it.Close()
		}
		return nil
	})
	if err != nil || !used {
		return err
	}
	if err := s.db.DropPrefix(other.prefixes()...); err != nil {
		return fmt.Errorf("empty side %d: %w", other, err)
	}
	return s.logs.locate()
}
