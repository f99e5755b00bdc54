package cas

import (
	"context"
	"errors"
	"fmt"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// PutMany stores blobs and returns one error for each: nil when it is there and
// survives the death of the process, ErrMismatch when the data is not what the
// digest names, a *FullError when there is no room. Blobs that are there already
// cost little; all are protected from now on. The data is not kept.
func (s *Store) PutMany(ctx context.Context, class Class, blobs []Blob) []error {
	errs := make([]error, len(blobs))
	if err := s.usable(ctx); err != nil {
		return fillErrors(errs, err)
	}
	wanted := make([]int, 0, len(blobs))
	for i := range blobs {
		if err := verify(&blobs[i]); err != nil {
			errs[i] = err
		} else {
			wanted = append(wanted, i)
		}
	}
	wanted = s.absent(blobs, wanted)
	for len(wanted) > 0 {
		n := groupLength(blobs, wanted, min(groupBytes, s.geo.generation/2))
		group := wanted[:n]
		wanted = wanted[n:]
		var err error
		if first := &blobs[group[0]]; len(first.Data) > maxWhole {
			err = s.putLarge(ctx, class, first)
		} else {
			err = s.putGroup(ctx, class, blobs, group)
		}
		for _, i := range group {
			errs[i] = err
		}
	}
	spreadErrors(blobs, errs)
	return errs
}

func fillErrors(errs []error, err error) []error {
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// verify checks data against its name.
func verify(b *Blob) error {
	if int64(len(b.Data)) != b.Digest.Size || !b.Digest.Function.Supported() ||
		b.Digest.Function.Sum(b.Data) != b.Digest.Hash {
		return ErrMismatch
	}
	return nil
}

// absent drops from wanted the blobs that are there and those that come twice.
func (s *Store) absent(blobs []Blob, wanted []int) []int {
	at := s.now()
	out := wanted[:0]
	s.ringMu.RLock()
	for _, i := range wanted {
		if !s.presentLocked(&blobs[i].Digest, at) {
			out = append(out, i)
		}
	}
	s.ringMu.RUnlock()
	if len(out) < 2 {
		return out
	}
	seen := make(map[digest.Digest]struct{}, len(out))
	once := out[:0]
	for _, i := range out {
		if _, twice := seen[blobs[i].Digest]; !twice {
			seen[blobs[i].Digest] = struct{}{}
			once = append(once, i)
		}
	}
	return once
}

// spreadErrors gives repetitions of a blob the error of the first, which is the
// one that was written.
func spreadErrors(blobs []Blob, errs []error) {
	var failed map[digest.Digest]error
	for i := range errs {
		if errs[i] != nil && !errors.Is(errs[i], ErrMismatch) {
			if failed == nil {
				failed = make(map[digest.Digest]error)
			}
			failed[blobs[i].Digest] = errs[i]
		}
	}
	for i := range blobs {
		if errs[i] == nil && failed != nil {
			errs[i] = failed[blobs[i].Digest]
		}
	}
}

// groupBytes bounds what is written in one transaction; in small stores a
// generation does.
const groupBytes = 8 << 20

// groupLength returns how many of the first blobs are written together. One that
// is too large to be stored whole goes alone.
func groupLength(blobs []Blob, wanted []int, limit int64) int {
	total := int64(0)
	for n, i := range wanted {
		size := int64(len(blobs[i].Data))
		if total += size; n > 0 && (total > limit || size > maxWhole) {
			return n
		}
		if size > maxWhole {
			return 1
		}
	}
	return len(wanted)
}

// putGroup packs blobs and commits them together.
func (s *Store) putGroup(ctx context.Context, class Class, blobs []Blob, group []int) error {
	total := 0
	for _, i := range group {
		total += entryHeader + len(blobs[i].Data)
	}
	cost := int64(total + len(group)*(recordOverhead+packOverhead))
	if err := s.space.reserve(ctx, class, cost); err != nil {
		return err
	}
	defer s.space.release(cost)
	p := s.newPacker(len(group))
	defer p.free()
	for _, i := range group {
		p.addBlob(blobs[i].Digest, blobs[i].Data)
	}
	if _, _, err := s.lanes[laneFresh].commit(ctx, p.finish(), s.now()); err != nil {
		return fmt.Errorf("store blobs: %w", err)
	}
	s.counters.written.Add(int64(total))
	return nil
}

// putLarge stores a blob in pieces. Its hash was checked.
func (s *Store) putLarge(ctx context.Context, class Class, b *Blob) error {
	w, err := s.Writer(ctx, class, b.Digest)
	if err != nil {
		return err
	}
	defer w.Close()
	w.up.trusted = true
	if _, err := w.Write(b.Data); err != nil {
		return err
	}
	return w.Commit()
}
