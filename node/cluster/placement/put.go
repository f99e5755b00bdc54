package placement

import (
	"context"
	"errors"
	"fmt"

	"github.com/bgrid-node/bgrid-node/store/cas"
)

// PutMany stores blobs, each on as many members as keep one, and returns one error
// for each: nil when the copies exist, cas.ErrMismatch when the data is not what
// the digest names, a *cas.FullError when too few members have room,
// cas.ErrUnavailable when too few can be reached. A member that is full, or fails
// meanwhile, is replaced by the next. All copies are protected from now on. The
// data is not kept.
func (b *Blobs) PutMany(ctx context.Context, class cas.Class, blobs []cas.Blob) []error {
	v := b.view.Load()
	if v.alone() {
		return b.local.PutMany(ctx, class, blobs)
	}
	errs := b.putOnce(ctx, v, class, blobs)
	for anyUnavailable(errs) && b.await(ctx, b.view.Load()) {
		var again []cas.Blob
		var index []int
		for i, err := range errs {
			if errors.Is(err, cas.ErrUnavailable) {
				again, index = append(again, blobs[i]), append(index, i)
			}
		}
		for k, err := range b.putOnce(ctx, b.view.Load(), class, again) {
			errs[index[k]] = err
		}
	}
	return errs
}

func (b *Blobs) putOnce(ctx context.Context, v *view, class cas.Class, blobs []cas.Blob) []error {
	p := b.newPlacing(v, class, blobs)
	p.run(ctx)
	errs := make([]error, len(blobs))
	for i := range blobs {
		errs[i] = p.result(ctx, i)
	}
	return errs
}

// placing is blobs on their way to the members that keep them.
type placing struct {
	b     *Blobs
	v     *view
	era   uint64
	class cas.Class
	blobs []cas.Blob
	has   []mask // of each blob, the members that have it
	tried []mask // those that were asked to take it, or must not be
	wrong []bool // data that is not the blob
	outcome
}

// outcome is why members did not take a blob: the last reason of each kind.
type outcome struct {
	full error // *cas.FullError
	ill  error
}

func (o *outcome) note(err error) {
	if full := (*cas.FullError)(nil); errors.As(err, &full) {
		o.full = err
	} else {
		o.ill = err
	}
}

func (b *Blobs) newPlacing(v *view, class cas.Class, blobs []cas.Blob) *placing {
	masks := make([]mask, 2*len(blobs))
	return &placing{
		b: b, v: v, era: b.era(), class: class, blobs: blobs,
		has: masks[:len(blobs)], tried: masks[len(blobs):], wrong: make([]bool, len(blobs)),
	}
}

// run stores each blob on members until enough have it, or no other can be asked.
func (p *placing) run(ctx context.Context) {
	for ctx.Err() == nil {
		lists, any := p.plan()
		if !any {
			return
		}
		results := make([][]error, len(lists))
		p.v.each(lists, func(at int, list []int) { results[at] = p.store(ctx, p.v.members[at], list) })
		for at, list := range lists {
			for k, i := range list {
				p.take(at, i, results[at][k])
			}
		}
	}
}

// plan chooses, for each blob that is on too few members, the next to take it.
func (p *placing) plan() (lists [][]int, any bool) {
	lists = make([][]int, len(p.v.members))
	var buf [maxMembers]int
	for i := range p.blobs {
		d := &p.blobs[i].Digest
		lacking := p.v.copies - p.has[i].count()
		if p.wrong[i] || lacking <= 0 {
			continue
		}
		for _, at := range p.v.takers(d, buf[:0]) {
			if lacking > 0 && !(p.tried[i] | p.has[i]).has(at) {
				p.tried[i] |= one(at)
				lists[at] = append(lists[at], i)
				lacking--
				any = true
			}
		}
	}
	return lists, any
}

func (p *placing) take(at, i int, err error) {
	switch {
	case err == nil:
		p.has[i] |= one(at)
		if p.has[i].count() >= p.v.copies {
			p.b.memo.add(&p.blobs[i].Digest, p.era)
		}
	case errors.Is(err, cas.ErrMismatch):
		p.wrong[i] = true
	default:
		p.note(err)
	}
}

// store sends some of the blobs to one member, in messages of a size that it takes.
func (p *placing) store(ctx context.Context, m *member, list []int) []error {
	errs := make([]error, 0, len(list))
	for len(list) > 0 {
		var part []cas.Blob
		for total := 0; len(part) < len(list); {
			blob := p.blobs[list[len(part)]]
			if total += len(blob.Data) + batchEntry; total > batchBytes && !m.self && len(part) > 0 {
				break
			}
			part = append(part, blob)
		}
		list = list[len(part):]
		if len(part[0].Data)+batchEntry > batchBytes && !m.self { // it is alone
			errs = append(errs, p.b.putLarge(ctx, m, p.class, part[0]))
			continue
		}
		errs = append(errs, p.b.put(ctx, m, p.class, part)...)
	}
	return errs
}

// putLarge stores a blob on another member that does not fit into a message.
func (b *Blobs) putLarge(ctx context.Context, m *member, class cas.Class, blob cas.Blob) error {
	w, err := m.openWriter(ctx, class, blob.Digest, "")
	if err != nil {
		return err
	}
	defer w.Close() //nolint:errcheck // it never fails
	if _, err := w.Write(blob.Data); err != nil {
		return err
	}
	return w.Commit()
}

// result is what has become of a blob. One that is on fewer members than it should
// be, because no more can take it, is stored all the same when the loss of any one
// of a majority leaves a copy.
func (p *placing) result(ctx context.Context, i int) error {
	switch {
	case p.wrong[i]:
		return cas.ErrMismatch
	case p.has[i].count() >= p.v.copies:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return p.v.enough(p.has[i], p.outcome)
}

// enough tells whether an upload may be acknowledged with the copies there are,
// now that no other member can take one.
func (v *view) enough(has mask, why outcome) error {
	if has.count() >= v.copies || has.count() >= v.least && v.quorum() {
		return nil
	}
	away := v.away(v.up)
	if why.full != nil && len(away) == 0 && why.ill == nil {
		return why.full
	}
	if len(away) > 0 {
		return v.unreachable("store blob", away)
	}
	if why.ill != nil {
		return fmt.Errorf("store blob: %w", why.ill)
	}
	return v.unreachable("store blob", nil)
}
