package placement

import (
	"context"
	"errors"
	"sync"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// OpenWriter begins to write a blob to its owners at once, or goes on with the
// upload of the same id where all of them have it to: at Offset. The state of an
// upload lies with the owners, so that it is resumed through any node. Memory is
// bounded whatever the blob's size; the slowest owner sets the pace. Errors are
// those of PutMany, from here on, Write and Commit; cas.ErrSuperseded when another
// call took the upload over.
func (b *Blobs) OpenWriter(ctx context.Context, class cas.Class, d digest.Digest, id string) (w cas.BlobWriter, err error) {
	err = b.patiently(ctx, func() error {
		w, err = b.openWriter(ctx, class, d, id)
		return err
	})
	return w, err
}

func (b *Blobs) openWriter(ctx context.Context, class cas.Class, d digest.Digest, id string) (cas.BlobWriter, error) {
	v := b.view.Load()
	if v.alone() || d.IsEmpty() {
		return b.local.OpenWriter(ctx, class, d, id)
	}
	w := &writer{b: b, v: v, ctx: ctx, era: b.era(), class: class, digest: d, id: id}
	w.recruit()
	if w.living() < v.least {
		_ = w.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, v.enough(0, w.outcome)
	}
	w.align()
	return w, nil
}

// writer sends a blob to several members.
type writer struct {
	b      *Blobs
	v      *view
	ctx    context.Context //nolint:containedctx // of the one call that it is
	era    uint64
	class  cas.Class
	digest digest.Digest
	id     string
	at     int64 // offset of the next byte

	targets []*target
	tried   mask // members that are among the targets, or would not take the blob
	outcome
	over bool // committed or given up
}

// target is one of the members.
type target struct {
	at   int // position in the view
	w    cas.BlobWriter
	dead bool // it failed, or had nothing when others had something
}

func (w *writer) living() (n int) {
	for _, t := range w.targets {
		if !t.dead {
			n++
		}
	}
	return n
}

// recruit opens the blob on as many more members as are to have it.
func (w *writer) recruit() {
	var buf [maxMembers]int
	order := w.v.takers(&w.digest, buf[:0])
	for w.ctx.Err() == nil {
		var next []*target
		for _, at := range order {
			if w.living()+len(next) < w.v.copies && !w.tried.has(at) {
				w.tried |= one(at)
				next = append(next, &target{at: at})
			}
		}
		if len(next) == 0 {
			return
		}
		errs := make([]error, len(next))
		var wg sync.WaitGroup
		for i, t := range next {
			wg.Go(func() { t.w, errs[i] = w.b.openOn(w.ctx, w.v.members[t.at], w.class, w.digest, w.id) })
		}
		wg.Wait()
		for i, t := range next {
			if errs[i] != nil {
				w.note(errs[i])
				continue
			}
			w.targets = append(w.targets, t)
		}
	}
}

func (w *writer) drop(t *target) {
	t.dead = true
	_ = t.w.Close()
}

// Offset implements cas.BlobWriter.
func (w *writer) Offset() int64 { return w.at }

// Write implements cas.BlobWriter. A member that fails is left out, as long as
// another goes on; at the beginning of a blob it is replaced at once.
func (w *writer) Write(p []byte) (int, error) {
	switch {
	case w.over:
		return 0, cas.ErrClosed
	case int64(len(p)) > w.digest.Size-w.at:
		w.Abort()
		return 0, cas.ErrMismatch
	case len(p) == 0:
		return 0, nil
	}
	for {
		for _, t := range w.targets {
			if t.dead {
				continue
			}
			if err := w.send(t, p); errors.Is(err, cas.ErrSuperseded) || errors.Is(err, cas.ErrMismatch) {
				return 0, err
			}
		}
		if w.ctx.Err() != nil {
			return 0, context.Cause(w.ctx)
		}
		before := len(w.targets)
		if w.at == 0 && w.living() < w.v.copies {
			w.recruit()
		}
		if len(w.targets) == before {
			break
		}
	}
	if w.living() == 0 {
		return 0, w.broken()
	}
	w.at += int64(len(p))
	return len(p), nil
}

// send writes to one member what it has not got of p, which begins at w.at.
func (w *writer) send(t *target, p []byte) error {
	has := min(t.w.Offset()-w.at, int64(len(p)))
	_, err := t.w.Write(p[max(has, 0):])
	if err != nil && w.ctx.Err() == nil {
		w.v.members[t.at].note(err)
		w.note(err)
		w.drop(t)
	}
	return err
}

// broken is for an upload that nobody takes any more. When others might take it
// from its beginning, it is worth another try.
func (w *writer) broken() error {
	if more := w.v.up.without(w.tried); more.count() >= w.v.least {
		return w.v.unreachable("store blob "+w.digest.String(), nil)
	}
	return w.v.enough(0, w.outcome)
}

// Commit implements cas.BlobWriter: it returns when enough members have the blob.
// Those that failed are replaced by copying it from one of the others.
func (w *writer) Commit() error {
	if w.over {
		return cas.ErrClosed
	}
	if w.at != w.digest.Size {
		w.Abort()
		return cas.ErrMismatch
	}
	has, err := w.commitAll()
	if err != nil {
		return err
	}
	if has.count() >= w.v.copies {
		w.b.memo.add(&w.digest, w.era)
	} else if has != 0 {
		var why outcome
		has, why = w.b.replicateLarge(w.ctx, w.v, w.class, copying{w.digest, has}, w.era)
		if why.full != nil {
			w.full = why.full
		}
	}
	if w.ctx.Err() != nil && has.count() < w.v.copies {
		return context.Cause(w.ctx)
	}
	if has == 0 {
		return w.broken()
	}
	w.over = true
	return w.v.enough(has, w.outcome)
}

// commitAll commits on all members at once.
func (w *writer) commitAll() (has mask, err error) {
	errs := make([]error, len(w.targets))
	var wg sync.WaitGroup
	for i, t := range w.targets {
		if !t.dead {
			wg.Go(func() { errs[i] = t.w.Commit() })
		}
	}
	wg.Wait()
	for i, t := range w.targets {
		switch {
		case t.dead:
		case errs[i] == nil:
			has |= one(t.at)
		case errors.Is(errs[i], cas.ErrMismatch):
			err = cas.ErrMismatch
		case errors.Is(errs[i], cas.ErrSuperseded) && err == nil:
			err = cas.ErrSuperseded
		default:
			w.v.members[t.at].note(errs[i])
			w.note(errs[i])
			w.drop(t)
		}
	}
	return has, err
}

// Abort implements cas.BlobWriter.
func (w *writer) Abort() {
	if w.over {
		return
	}
	w.over = true
	w.eachLiving(func(t *target) { t.w.Abort() })
}

// Close implements cas.BlobWriter.
func (w *writer) Close() error {
	w.over = true
	w.eachLiving(func(t *target) { _ = t.w.Close() })
	return nil
}

func (w *writer) eachLiving(do func(*target)) {
	var wg sync.WaitGroup
	for _, t := range w.targets {
		if !t.dead {
			wg.Go(func() { do(t) })
		}
	}
	wg.Wait()
}
