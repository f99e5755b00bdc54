package placement

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Get returns a whole blob, which the caller owns. cas.ErrNotFound when every
// member said that it lacks it, cas.ErrUnavailable when one that may have it cannot
// be asked.
func (b *Blobs) Get(ctx context.Context, d digest.Digest) ([]byte, error) {
	data, err := b.local.Get(ctx, d)
	if v := b.view.Load(); err != nil && !v.alone() && ctx.Err() == nil {
		datas, errs := [][]byte{nil}, []error{err}
		b.fetch(ctx, v, []digest.Digest{d}, datas, errs)
		return datas[0], errs[0]
	}
	return data, err
}

// GetMany returns whole blobs and an error for each, as Get does. Their slices may
// share memory, so a caller that keeps a small one for long copies it.
func (b *Blobs) GetMany(ctx context.Context, ds []digest.Digest) ([][]byte, []error) {
	data, errs := b.local.GetMany(ctx, ds)
	b.fetch(ctx, b.view.Load(), ds, data, errs)
	return data, errs
}

// GetManyInto is GetMany into memory that the caller gives, for what lies on this
// node (see cas.Store.GetManyInto); what comes from other members has memory of
// its own.
func (b *Blobs) GetManyInto(ctx context.Context, ds []digest.Digest, alloc func(n int) []byte) ([][]byte, []error) {
	data, errs := b.local.GetManyInto(ctx, ds, alloc)
	b.fetch(ctx, b.view.Load(), ds, data, errs)
	return data, errs
}

// fetching is blobs that this node could not read, on their way from others.
type fetching struct {
	b      *Blobs
	v      *view
	ds     []digest.Digest
	data   [][]byte
	errs   []error
	tried  []mask // of each blob, the members that cannot give it
	absent []mask // those of them that lack it
}

// fetch gets those of the blobs that have an error from other members, one after
// the other by the order of each blob: the owners come first. What this node should
// have itself is stored here again.
func (b *Blobs) fetch(ctx context.Context, v *view, ds []digest.Digest, data [][]byte, errs []error) {
	b.fetchOnce(ctx, v, ds, data, errs)
	for anyUnavailable(errs) && b.await(ctx, b.view.Load()) {
		b.fetchOnce(ctx, b.view.Load(), ds, data, errs)
	}
}

func (b *Blobs) fetchOnce(ctx context.Context, v *view, ds []digest.Digest, data [][]byte, errs []error) {
	var lacking []int
	for i := range errs {
		if errs[i] != nil {
			lacking = append(lacking, i)
		}
	}
	if len(lacking) == 0 || v.alone() || ctx.Err() != nil {
		return
	}
	masks := make([]mask, 2*len(ds))
	f := &fetching{b: b, v: v, ds: ds, data: data, errs: errs, tried: masks[:len(ds)], absent: masks[len(ds):]}
	for _, i := range lacking {
		if v.self != nobody {
			f.tried[i] = one(v.self)
			if errors.Is(errs[i], cas.ErrNotFound) {
				f.absent[i] = one(v.self)
			}
		}
	}
	got := f.run(ctx, lacking)
	b.keep(ctx, v, f, got)
}

// run returns the positions of the blobs that were read.
func (f *fetching) run(ctx context.Context, lacking []int) (got []int) {
	var buf [maxMembers]int
	for len(lacking) > 0 && ctx.Err() == nil {
		lists, asked := make([][]int, len(f.v.members)), lacking[:0]
		for _, i := range lacking {
			at := nobody
			for _, next := range f.v.order(&f.ds[i], buf[:0]) {
				if !f.tried[i].has(next) {
					at = next
					break
				}
			}
			if at == nobody {
				f.giveUp(i)
				continue
			}
			f.tried[i] |= one(at)
			lists[at] = append(lists[at], i)
			asked = append(asked, i)
		}
		f.v.each(lists, func(at int, list []int) { f.read(ctx, f.v.members[at], list) })
		lacking = asked[:0]
		for at, list := range lists {
			for _, i := range list {
				switch {
				case f.errs[i] == nil:
					got = append(got, i)
				default:
					if errors.Is(f.errs[i], cas.ErrNotFound) {
						f.absent[i] |= one(at)
					}
					lacking = append(lacking, i)
				}
			}
		}
	}
	for _, i := range lacking {
		f.errs[i] = context.Cause(ctx)
	}
	return got
}

// giveUp is for a blob that no member gave.
func (f *fetching) giveUp(i int) { f.errs[i] = f.v.gone(f.ds[i], f.absent[i]) }

// read gets blobs from one member, in messages of a size that can be received.
func (f *fetching) read(ctx context.Context, m *member, list []int) {
	for len(list) > 0 {
		var part []digest.Digest
		for total := int64(0); len(part) < min(len(list), batchMost); {
			d := f.ds[list[len(part)]]
			if total += d.Size + batchEntry; total > batchBytes && len(part) > 0 {
				break
			}
			part = append(part, d)
		}
		if part[0].Size+batchEntry > batchBytes { // it is alone
			i := list[0]
			f.data[i], f.errs[i] = m.readAll(ctx, f.ds[i])
		} else {
			data, errs := f.b.get(ctx, m, part)
			for k := range part {
				f.data[list[k]], f.errs[list[k]] = data[k], errs[k]
			}
		}
		list = list[len(part):]
	}
}

// readAll reads a large blob from another member.
func (m *member) readAll(ctx context.Context, d digest.Digest) ([]byte, error) {
	r, err := m.openReader(ctx, d, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // it never fails
	data := make([]byte, d.Size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, fmt.Errorf("read blob %s: %w", d, err)
	}
	return data, nil
}

// keep stores blobs here that came from elsewhere and that this node should have:
// it lost them, or was away when they were written. That it cannot is no reason to
// fail a read, unless what came is not the blob.
func (b *Blobs) keep(ctx context.Context, v *view, f *fetching, got []int) {
	var own []cas.Blob
	var index []int
	for _, i := range got {
		if v.self != nobody && v.owners(&f.ds[i]).has(v.self) {
			own, index = append(own, cas.Blob{Digest: f.ds[i], Data: f.data[i]}), append(index, i)
		}
	}
	if len(own) == 0 {
		return
	}
	for k, err := range b.local.PutMany(ctx, cas.Upload, own) {
		switch i := index[k]; {
		case err == nil:
			b.counters.healed.Add(1)
		case errors.Is(err, cas.ErrMismatch):
			f.data[i], f.errs[i] = nil, wrongContent(f.ds[i])
		default:
			b.log.DebugContext(ctx, "keep a blob of which this node should have a copy", "digest", f.ds[i].String(), "error", err)
		}
	}
}

// wrongContent says that another member sent what is not the blob.
func wrongContent(d digest.Digest) error {
	return fmt.Errorf("read blob %s: %w: another member sent other content", d, cas.ErrUnavailable)
}
