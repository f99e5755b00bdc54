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

// GetMany returns whole blobs and an error for each, as Get does. Blobs that lie
// together are read together; their slices may share memory, so a caller that
// keeps a small one for long copies it.
func (s *Store) GetMany(ctx context.Context, ds []digest.Digest) ([][]byte, []error) {
	data, errs := make([][]byte, len(ds)), make([]error, len(ds))
	if err := s.usable(ctx); err != nil {
		return data, fillErrors(errs, err)
	}
	wanted := make([]fetch, 0, len(ds))
	at := s.now()
	for i, d := range ds {
		if d.IsEmpty() {
			data[i] = []byte{}
		} else if d.Size > maxWhole {
			data[i], errs[i] = s.getLarge(ctx, d)
		} else if h, ok := s.lookup(d, at); ok {
			wanted = append(wanted, fetch{hit: h, i: i})
		} else {
			errs[i] = ErrNotFound
		}
	}
	slices.SortFunc(wanted, fetch.compare)
	for len(wanted) > 0 {
		n := 1
		for n < len(wanted) && wanted[n].samePack(wanted[0]) {
			n++
		}
		s.fetchPack(ctx, ds, wanted[:n], data, errs)
		wanted = wanted[n:]
	}
	return data, errs
}

// fetch is one blob to be read; i is its position in the call.
type fetch struct {
	hit
	i int
}

func (f fetch) samePack(o fetch) bool {
	return f.generation == o.generation && f.record.pack == o.record.pack
}

func (f fetch) compare(o fetch) int {
	return cmp.Or(cmp.Compare(f.generation.id, o.generation.id), cmp.Compare(f.record.pack, o.record.pack),
		cmp.Compare(f.record.off, o.record.off))
}

// fetchPack reads blobs that lie in one pack, and releases them. A damaged one
// is quarantined and looked for once more.
func (s *Store) fetchPack(ctx context.Context, ds []digest.Digest, group []fetch, data [][]byte, errs []error) {
	var damaged []int
	err := group[0].generation.readPack(group[0].record.pack, func(pack []byte) error {
		total := int64(0)
		for _, f := range group {
			total += ds[f.i].Size
		}
		arena := make([]byte, 0, total)
		for _, f := range group {
			e, err := entryAt(pack, f.record.off)
			if err != nil || e.kind != kindBlob || e.digest != ds[f.i] || int64(len(e.data)) != e.digest.Size {
				damaged = append(damaged, f.i)
				continue
			}
			from := len(arena)
			arena = append(arena, e.data...)
			data[f.i] = arena[from:len(arena):len(arena)]
		}
		return nil
	})
	for _, f := range group {
		if errors.Is(err, errDamaged) {
			damaged = append(damaged, f.i)
		} else if err != nil {
			errs[f.i] = fmt.Errorf("get blob %s: %w", ds[f.i], err)
		}
		if slices.Contains(damaged, f.i) {
			s.quarantine(f.hit, ds[f.i], cmp.Or(err, error(errDamaged)))
		}
		f.release()
	}
	for _, i := range damaged {
		data[i], errs[i] = s.Get(ctx, ds[i])
	}
}
