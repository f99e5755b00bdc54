package placement

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// OpenReader reads one blob from an offset on: from this node, or the first of its
// owners that has it, then any other member. When a source breaks off in the
// middle, another one goes on from there. Errors are those of Get.
func (b *Blobs) OpenReader(ctx context.Context, d digest.Digest, offset int64) (r io.ReadCloser, err error) {
	err = b.patiently(ctx, func() error {
		r, err = b.openReader(ctx, d, offset)
		return err
	})
	return r, err
}

func (b *Blobs) openReader(ctx context.Context, d digest.Digest, offset int64) (io.ReadCloser, error) {
	src, err := b.local.OpenReader(ctx, d, offset)
	v := b.view.Load()
	if v.alone() || offset < 0 || offset > d.Size || ctx.Err() != nil {
		return src, err
	}
	r := &reader{b: b, ctx: ctx, digest: d, at: offset, tried: make(map[string]bool)}
	if v.self != nobody {
		r.from = v.members[v.self]
		r.tried[r.from.id] = true
	}
	if err == nil {
		r.src = src
		return r, nil
	}
	r.missed(r.from, err)
	if err := r.next(); err != nil {
		return nil, err
	}
	if v.self != nobody && v.owners(&d).has(v.self) {
		if offset > 0 {
			b.heal(d)
		} else if keep, err := b.local.OpenWriter(ctx, cas.Upload, d, ""); err == nil {
			r.keep = keep
		}
	}
	return r, nil
}

// reader reads one blob from one member after the other.
type reader struct {
	b      *Blobs
	ctx    context.Context //nolint:containedctx // of the one call that it is
	digest digest.Digest
	at     int64 // offset of the next byte
	src    io.ReadCloser
	from   *member         // whose src is; nil for a node that is no member
	moved  bool            // something was read from src
	tried  map[string]bool // members that src is not opened from again
	absent map[string]bool // those of them that lack the blob
	keep   cas.BlobWriter  // a copy for this node; nil: none
}

// missed notes why a member does not give the blob.
func (r *reader) missed(m *member, err error) {
	if m != nil && errors.Is(err, cas.ErrNotFound) {
		if r.absent == nil {
			r.absent = make(map[string]bool)
		}
		r.absent[m.id] = true
	}
}

// next opens the blob on the next member that was not tried, this node first.
func (r *reader) next() error {
	v := r.b.view.Load()
	var buf [maxMembers + 1]int
	order := buf[:0]
	if v.self != nobody {
		order = append(order, v.self)
	}
	for _, at := range v.order(&r.digest, order) {
		m := v.members[at]
		if r.tried[m.id] {
			continue
		}
		r.tried[m.id] = true
		src, err := r.b.readOn(r.ctx, m, r.digest, r.at)
		if err == nil {
			r.src, r.from, r.moved = src, m, false
			return nil
		}
		if r.ctx.Err() != nil {
			return context.Cause(r.ctx)
		}
		r.missed(m, err)
	}
	var absent mask
	for i, m := range v.members {
		if r.absent[m.id] {
			absent |= one(i)
		}
	}
	return v.gone(r.digest, absent)
}

// readOn opens a blob on one member, which may be this node.
func (b *Blobs) readOn(ctx context.Context, m *member, d digest.Digest, offset int64) (io.ReadCloser, error) {
	if m.self {
		return b.local.OpenReader(ctx, d, offset)
	}
	r, err := m.openReader(ctx, d, offset)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if r.at == r.digest.Size {
		return 0, io.EOF
	}
	for {
		n, err := r.src.Read(p)
		if n > 0 {
			r.moved = true
			r.at += int64(n)
			return n, r.copied(p[:n])
		}
		if err == nil {
			return 0, nil
		}
		if err := r.failOver(err); err != nil {
			return 0, err
		}
	}
}

// failOver goes on reading from another member. One that has given something is
// tried again when all others fail; so each round moves the reader on, or ends it.
func (r *reader) failOver(why error) error {
	_ = r.src.Close()
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	if r.moved {
		r.tried, r.absent, r.moved = make(map[string]bool), nil, false
		if r.from != nil {
			r.tried[r.from.id] = true
		}
	}
	r.missed(r.from, why)
	if r.from != nil && r.from.self && errors.Is(why, cas.ErrNotFound) {
		r.b.heal(r.digest)
	}
	r.b.counters.failedOver.Add(1)
	err := r.b.patiently(r.ctx, func() error {
		err := r.next()
		if err != nil { // all are asked again, should there be another time
			r.tried, r.absent = make(map[string]bool), nil
		}
		return err
	})
	if err != nil {
		r.src = io.NopCloser(failing{err})
	}
	return err
}

// failing gives the same error again.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// copied stores what was read in this node's own copy, and checks the whole of it
// when it is complete.
func (r *reader) copied(p []byte) error {
	if r.keep == nil {
		return nil
	}
	_, err := r.keep.Write(p)
	if err == nil && r.at < r.digest.Size {
		return nil
	}
	if err == nil {
		err = r.keep.Commit()
	}
	_ = r.keep.Close()
	r.keep = nil
	if errors.Is(err, cas.ErrMismatch) {
		return wrongContent(r.digest)
	}
	if err == nil {
		r.b.counters.healed.Add(1)
	}
	return nil
}

// WriteTo implements io.WriterTo, in pieces that the local store need not copy.
func (r *reader) WriteTo(w io.Writer) (n int64, err error) {
	buffer := make([]byte, cas.PieceBytes)
	for {
		k, err := r.Read(buffer)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("read blob %s: %w", r.digest, err)
		}
		k, err = w.Write(buffer[:k])
		n += int64(k)
		if err != nil {
			return n, err
		}
	}
}

// Close implements io.Closer.
func (r *reader) Close() error {
	if r.keep != nil {
		_ = r.keep.Close()
		r.keep = nil
	}
	return r.src.Close()
}
