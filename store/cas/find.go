package cas

import (
	"context"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// FindMissing returns those of ds that are not there, each once, in the order
// asked (REAPI FindMissingBlobs). The others are protected from now on. The empty
// blob is never missing.
func (s *Store) FindMissing(ctx context.Context, ds []digest.Digest) ([]digest.Digest, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	var missing []digest.Digest
	at := s.now()
	s.ringMu.RLock()
	for i := range ds {
		if !s.presentLocked(&ds[i], at) {
			if missing == nil {
				missing = make([]digest.Digest, 0, len(ds)-i)
			}
			missing = append(missing, ds[i])
		}
	}
	s.ringMu.RUnlock()
	return distinct(missing), nil
}

// Present tells whether one blob is there, and protects it.
func (s *Store) Present(ctx context.Context, d digest.Digest) (bool, error) {
	if err := s.usable(ctx); err != nil {
		return false, err
	}
	s.ringMu.RLock()
	defer s.ringMu.RUnlock()
	return s.presentLocked(&d, s.now()), nil
}

// usable returns why a call cannot be served.
func (s *Store) usable(ctx context.Context) error {
	if s.closing.Load() {
		return ErrClosed
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (s *Store) presentLocked(d *digest.Digest, at stamp) bool {
	if d.IsEmpty() {
		return true
	}
	fp := fingerprintOf(*d)
	for _, g := range s.gens {
		if _, _, ok := g.find(fp, d.Size, at, &s.protection); ok {
			return true
		}
	}
	return false
}

// hit is where a blob was found. Its generation is pinned until release.
type hit struct {
	generation *generation
	record     record
	stamp      stamp
}

func (h hit) release() { h.generation.pins.Done() }

// lookup finds a blob, notes its use when at is not 0, and pins its generation.
func (s *Store) lookup(d digest.Digest, at stamp) (hit, bool) {
	fp := fingerprintOf(d)
	s.ringMu.RLock()
	defer s.ringMu.RUnlock()
	for _, g := range s.gens {
		if r, st, ok := g.find(fp, d.Size, at, &s.protection); ok {
			g.pins.Add(1)
			return hit{g, r, st}, true
		}
	}
	return hit{}, false
}

// pin returns a generation by its id, pinned, or nil.
func (s *Store) pin(id uint32) *generation {
	s.ringMu.RLock()
	defer s.ringMu.RUnlock()
	for _, g := range s.gens {
		if g.id == id {
			g.pins.Add(1)
			return g
		}
	}
	return nil
}

// distinct removes repetitions in place and keeps the order.
func distinct(ds []digest.Digest) []digest.Digest {
	if len(ds) < 2 {
		return ds
	}
	size := 4
	for size < 2*len(ds) {
		size *= 2
	}
	table := make([]int32, size) // 1 + position in out; 0 is free
	out := ds[:0]
	for _, d := range ds {
		for i := int(uint32(fingerprintOf(d).hi)) & (size - 1); ; i = (i + 1) & (size - 1) {
			if table[i] == 0 {
				out = append(out, d)
				table[i] = int32(len(out))
				break
			}
			if out[table[i]-1] == d {
				break
			}
		}
	}
	return out
}
