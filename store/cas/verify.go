package cas

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Verified is what Verify read, and what is wrong with it.
type Verified struct {
	Blobs   int64 // copies of them: one that was carried over lies twice until its old place goes
	Bytes   int64 // of these
	Damaged []Damage
}

// Damage is a blob that is in the store and cannot be served.
type Damage struct {
	Blob string // its digest, or as much of it as the index knows
	Why  error
}

// Verify reads every blob against its hash and changes nothing: for fsck and
// tests. progress is called now and then with the bytes of blobs that were read
// and those that there are; nil: nobody is told. What is written meanwhile may be
// left out. An error means that it could not be done: a disk that cannot be read,
// or the end of ctx.
func (s *Store) Verify(ctx context.Context, progress func(read, all int64)) (Verified, error) {
	v := verifying{Store: s, ctx: ctx, progress: progress}
	if progress == nil {
		v.progress = func(int64, int64) {}
	}
	gens := s.ring()
	for _, g := range gens {
		v.all += g.logical.Load()
	}
	for _, g := range gens {
		if s.pin(g.id) != g { // dropped meanwhile
			continue
		}
		err := v.generation(g)
		g.pins.Done()
		if err != nil {
			return v.Verified, fmt.Errorf("verify storage: %w", err)
		}
	}
	v.progress(v.all, v.all)
	return v.Verified, nil
}

type verifying struct {
	*Store
	Verified
	ctx      context.Context //nolint:containedctx // of the one call that it is
	progress func(read, all int64)
	all      int64
}

// generation reads the blobs of one, in the order in which they lie.
func (v *verifying) generation(g *generation) error {
	var records []record
	v.each(g, func(r record, st stamp) {
		if st != dead {
			records = append(records, r)
		}
	})
	slices.SortFunc(records, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.pack, b.pack), cmp.Compare(a.off, b.off))
	})
	for i, r := range records {
		if err := v.ctx.Err(); err != nil {
			return context.Cause(v.ctx)
		}
		if err := v.record(g, r); err != nil {
			if !errors.Is(err, errDamaged) {
				return err
			}
			v.Damaged = append(v.Damaged, Damage{fmt.Sprintf("%016x%016x.../%d", r.fp.hi, r.fp.lo, r.size), err})
		}
		v.Blobs++
		v.Bytes += r.size
		if i%256 == 0 || r.kind == kindList {
			v.progress(min(v.Bytes, v.all), v.all)
		}
	}
	return nil
}

func (v *verifying) record(g *generation, r record) error {
	if r.kind == kindBlob {
		return g.readBlob(r, verifyEntry)
	}
	d, places, err := v.readListAt(g, r)
	if err != nil {
		return err
	}
	h := d.Function.New()
	for _, p := range places {
		if err := v.piece(p, func(data []byte) { _, _ = h.Write(data) }); err != nil {
			return fmt.Errorf("blob %s: %w", d, err)
		}
	}
	if [len(d.Hash)]byte(h.Sum(nil)) != d.Hash {
		return fmt.Errorf("blob %s has another content: %w", d, errDamaged)
	}
	return nil
}

func (v *verifying) piece(p place, visit func(data []byte)) error {
	g := v.pin(p.generation)
	if g == nil {
		return fmt.Errorf("generation %d, which holds a piece, is gone: %w", p.generation, errDamaged)
	}
	defer g.pins.Done()
	return g.readPack(p.pack, func(b packBody) error {
		e, err := b.only()
		if err == nil && (e.kind != kindPiece || len(e.data) != int(p.length)) {
			err = fmt.Errorf("a piece of %d bytes: %w", len(e.data), errDamaged)
		}
		if err == nil {
			visit(e.data)
		}
		return err
	})
}
