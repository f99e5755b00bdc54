package cas

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Get returns a whole blob, which the caller owns, and protects it. ErrNotFound
// when it is not there, also when the size is not the blob's.
func (s *Store) Get(ctx context.Context, d digest.Digest) ([]byte, error) {
	if d.Size > maxWhole {
		return s.getLarge(ctx, d)
	}
	data, errs := s.GetMany(ctx, []digest.Digest{d})
	return data[0], errs[0]
}

// getLarge puts a blob together from its pieces.
func (s *Store) getLarge(ctx context.Context, d digest.Digest) ([]byte, error) {
	r, err := s.Reader(ctx, d, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data := make([]byte, d.Size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, err
	}
	return data, nil
}

// GetMany returns whole blobs and an error for each, as Get does. Their slices
// share memory, so a caller that keeps a small one for long copies it.
func (s *Store) GetMany(ctx context.Context, ds []digest.Digest) ([][]byte, []error) {
	data, errs := s.GetManyInto(ctx, ds, func(n int) []byte { return make([]byte, n) })
	for i := range data {
		data[i] = slices.Clip(data[i])
	}
	return data, errs
}

// GetManyInto is GetMany into memory that the caller gives: alloc is called at
// most once, for the bytes of all blobs of up to 2 MiB together and a little more,
// and may return memory of any content, which is the caller's again when it has no
// more use for the data. Larger blobs have memory of their own. What lies in that of
// alloc has its end as capacity: the caller can tell, and must not append.
func (s *Store) GetManyInto(ctx context.Context, ds []digest.Digest, alloc func(n int) []byte) ([][]byte, []error) {
	data, errs := make([][]byte, len(ds)), make([]error, len(ds))
	if err := s.usable(ctx); err != nil {
		return data, fillErrors(errs, err)
	}
	wanted := make([]fetch, 0, len(ds))
	total := 0
	at := s.now()
	for i, d := range ds {
		if d.IsEmpty() {
			data[i] = []byte{}
		} else if d.Size > maxWhole {
			data[i], errs[i] = s.getLarge(ctx, d)
		} else if h, ok := s.lookup(d, at); ok {
			wanted = append(wanted, fetch{hit: h, i: i})
			total += entryHeader + int(d.Size)
		} else {
			errs[i] = ErrNotFound
		}
	}
	if len(wanted) == 0 {
		return data, errs
	}
	slices.SortFunc(wanted, fetch.compare)
	arena := alloc(total)[:total]
	for len(wanted) > 0 {
		n, length := adjacent(wanted)
		s.fetch(ctx, ds, wanted[:n], arena[:length], data, errs)
		wanted, arena = wanted[n:], arena[length:]
	}
	return data, errs
}

// fetch is one blob to be read; i is its position in the call.
type fetch struct {
	hit
	i int
}

// length is what its entry takes in the data file.
func (f fetch) length() int64 { return entryHeader + f.record.size }

func (f fetch) compare(o fetch) int {
	return cmp.Or(cmp.Compare(f.generation.id, o.generation.id), cmp.Compare(f.record.pack, o.record.pack),
		cmp.Compare(f.record.off, o.record.off))
}

// adjacent returns how many of the first blobs lie one behind the other in a data
// file, so that they are read at once, and the length of their entries.
func adjacent(fs []fetch) (n int, length int64) {
	for n = 1; n < len(fs); n++ {
		length += fs[n-1].length()
		before, f := fs[n-1], fs[n]
		if !f.record.file || f.generation != before.generation || f.record.off != before.record.off+before.length() {
			return n, length
		}
	}
	return n, length + fs[n-1].length()
}

// fetch reads blobs that are adjacent, headers included, and releases them. A
// damaged one is quarantined and looked for once more.
func (s *Store) fetch(ctx context.Context, ds []digest.Digest, group []fetch, arena []byte, data [][]byte, errs []error) {
	first := group[0]
	var err error
	if first.record.file {
		err = first.generation.data.read(arena, first.record.off)
		if len(group) > 1 && errors.Is(err, errDamaged) { // what of them can be read is found one by one
			for _, f := range group {
				s.fetch(ctx, ds, []fetch{f}, arena[:f.length()], data, errs)
				arena = arena[f.length():]
			}
			return
		}
	} else {
		err = first.generation.readPack(first.record.pack, func(b packBody) error {
			if first.record.off > int64(len(b.data)) {
				return errDamaged
			}
			copy(arena, b.data[first.record.off:])
			return nil
		})
	}
	for _, f := range group {
		own := arena[:f.length()]
		arena = arena[f.length():]
		failed := err
		if failed == nil {
			failed = blobAt(own, 0, f.record, func(e entry) error {
				if e.digest != ds[f.i] {
					return errDamaged
				}
				data[f.i] = own[entryHeader:]
				return nil
			})
		}
		if errors.Is(failed, errDamaged) {
			s.quarantine(f.hit, ds[f.i], failed)
		}
		f.release()
		if errors.Is(failed, errDamaged) {
			data[f.i], errs[f.i] = s.Get(ctx, ds[f.i])
		} else if failed != nil {
			errs[f.i] = fmt.Errorf("get blob %s: %w", ds[f.i], failed)
		}
	}
}
