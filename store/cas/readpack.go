package cas

import (
	"cmp"
	"errors"
	"fmt"
	"math"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/y"
)

// readPack hands a pack to visit, which must copy what it keeps, and must look at
// the checksums of the entries. errDamaged when it is not there. The caller has
// the generation pinned.
func (g *generation) readPack(pack uint32, visit func(packBody) error) error {
	var at *pointer
	err := g.view(pack, func(value []byte) error {
		if !isPointer(value) {
			return visit(packBody{data: value})
		}
		p, err := decodePointer(value)
		at = &p
		return err
	})
	if err != nil || at == nil {
		return err
	}
	return g.readAt(*at, visit)
}

// readPackInto reads a pack of one entry: its data goes to into, which it must
// fill, and visit is called with the entry in it.
func (g *generation) readPackInto(pack uint32, into []byte, visit func(entry) error) error {
	var at *pointer
	err := g.view(pack, func(value []byte) error {
		if isPointer(value) {
			p, err := decodePointer(value)
			at = &p
			return err
		}
		e, err := packBody{data: value}.only()
		if err == nil && len(e.data) != len(into) {
			err = fmt.Errorf("an entry of %d bytes: %w", len(e.data), errDamaged)
		}
		copy(into, e.data)
		return cmp.Or(err, visit(e))
	})
	if err != nil || at == nil {
		return err
	}
	var header [entryHeader]byte
	if int(at.length) != len(header)+len(into) {
		return fmt.Errorf("a pack of %d bytes: %w", at.length, errDamaged)
	}
	if err := g.data.readParts([][]byte{header[:], into}, at.offset); err != nil {
		return err
	}
	e, err := checkEntry(header[:], into)
	if err == nil && len(e.data) != len(into) {
		err = fmt.Errorf("an entry of %d bytes: %w", len(e.data), errDamaged)
	}
	if err != nil {
		return err
	}
	return visit(e)
}

// view hands the value of a pack in Badger to visit.
func (g *generation) view(pack uint32, visit func([]byte) error) error {
	if err := g.readable(); err != nil {
		return err
	}
	defer g.dbMu.RUnlock()
	return g.guard(func() error {
		txn := g.db.NewTransactionAt(math.MaxUint64, false)
		defer txn.Discard()
		item, err := txn.Get(packKey(pack))
		if errors.Is(err, badger.ErrKeyNotFound) {
			return fmt.Errorf("pack %d of generation %d is not there: %w", pack, g.id, errDamaged)
		}
		if err == nil {
			err = item.Value(visit)
		}
		if errors.Is(err, y.ErrChecksumMismatch) {
			err = fmt.Errorf("%w: %w", errDamaged, err)
		}
		if err != nil {
			return fmt.Errorf("read pack %d of generation %d: %w", pack, g.id, err)
		}
		return nil
	})
}

// readAt hands a pack in the data file to visit.
func (g *generation) readAt(p pointer, visit func(packBody) error) error {
	buffer := g.pools.filled(int(p.length))
	defer g.pools.put(buffer)
	if err := g.data.read(*buffer, p.offset); err != nil {
		return err
	}
	return visit(packBody{data: *buffer, at: p.offset, file: true})
}

// readBlob hands one blob to visit, which must copy what it keeps. It reads that
// one's bytes only, without Badger when they lie in the data file.
func (g *generation) readBlob(r record, visit func(entry) error) error {
	if r.file {
		return g.readAt(pointer{r.off, uint32(entryHeader + r.size)}, func(b packBody) error { return blobAt(b.data, 0, r, visit) })
	}
	return g.readPack(r.pack, func(b packBody) error { return blobAt(b.data, r.off, r, visit) })
}

func blobAt(pack []byte, off int64, r record, visit func(entry) error) error {
	e, err := entryAt(pack, off)
	if err != nil {
		return err
	}
	if e.kind != kindBlob || !r.same(fingerprintOf(e.digest), e.digest.Size) || int64(len(e.data)) != r.size {
		return fmt.Errorf("another blob: %w", errDamaged)
	}
	return visit(e)
}

// found is a value in Badger.
type found struct {
	pack  uint32
	value []byte
}

// eachPack hands the packs from a number on to visit, in order; damaged ones are
// handed over as they are, those that cannot be read without any bytes.
func (g *generation) eachPack(from uint32, visit func(pack uint32, body packBody) error) error {
	for {
		some, err := g.somePacks(from)
		if err != nil {
			return err
		}
		if len(some) == 0 {
			return nil
		}
		for _, f := range some {
			if err := g.visitValue(f, visit); err != nil {
				return err
			}
		}
		from = some[len(some)-1].pack + 1
	}
}

func (g *generation) visitValue(f found, visit func(pack uint32, body packBody) error) error {
	if !isPointer(f.value) {
		return visit(f.pack, packBody{data: f.value})
	}
	p, err := decodePointer(f.value)
	if err == nil {
		g.data.reserve(p.offset + int64(p.length))
		visited := false
		err = g.readAt(p, func(b packBody) error { visited = true; return visit(f.pack, b) })
		if visited {
			return err
		}
	}
	if errors.Is(err, errDamaged) {
		return visit(f.pack, packBody{})
	}
	return err
}

// somePacks returns copies of the next values in Badger, so that no lock of it is
// held while data is read.
func (g *generation) somePacks(from uint32) (some []found, err error) {
	const most = 1024
	if err := g.readable(); err != nil {
		return nil, err
	}
	defer g.dbMu.RUnlock()
	err = g.guard(func() error {
		txn := g.db.NewTransactionAt(math.MaxUint64, false)
		defer txn.Discard()
		opt := badger.DefaultIteratorOptions
		opt.PrefetchValues = false
		it := txn.NewIterator(opt)
		defer it.Close()
		for it.Seek(packKey(from)); it.Valid() && len(some) < most; it.Next() {
			pack, ok := parsePackKey(it.Item().Key())
			if !ok {
				continue
			}
			value, err := it.Item().ValueCopy(nil)
			if err != nil {
				return err
			}
			some = append(some, found{pack, value})
		}
		return nil
	})
	return some, err
}
