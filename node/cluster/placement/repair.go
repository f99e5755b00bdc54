package placement

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// copying is a blob of which there are too few copies, and who has them.
type copying struct {
	digest digest.Digest
	has    mask
}

// repairs holds a token for each list that is copied: each takes a message's
// memory or two.
type repairs chan struct{}

const (
	repairSlots = 4
	// repairPatience is how long an answer waits for copies. What takes longer goes on
	// behind an answer that says so: a client must not run into its deadline because a
	// member was lost.
	repairPatience = 5 * time.Second
)

// repair copies blobs to enough members, and returns who has them when that is done
// or takes too long.
func (b *Blobs) repair(ctx context.Context, v *view, list []copying, era uint64) ([]copying, error) {
	timer := time.NewTimer(repairPatience)
	defer timer.Stop()
	select {
	case b.repairs <- struct{}{}:
	case <-timer.C:
		return list, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	ended := make(chan []copying, 1)
	started := b.tasks.start(func() {
		defer func() { <-b.repairs }()
		copied := slices.Clone(list)
		b.replicate(b.done, v, copied, era)
		ended <- copied
	})
	if !started {
		<-b.repairs
		return nil, cas.ErrClosed
	}
	select {
	case copied := <-ended:
		return copied, nil
	case <-timer.C:
		return list, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// heal looks, in the background, after a blob of which this node has lost its copy.
func (b *Blobs) heal(d digest.Digest) {
	select {
	case b.repairs <- struct{}{}:
	default:
		return // the next question for the blob sees to it
	}
	started := b.tasks.start(func() {
		defer func() { <-b.repairs }()
		v, era := b.view.Load(), b.era()
		s := b.newSurvey(v, []digest.Digest{d})
		err := s.ask(b.done, func(int) mask { return v.up })
		if n := s.has[0].count(); err == nil && n > 0 && n < v.enoughCopies() {
			b.replicate(b.done, v, []copying{{d, s.has[0]}}, era)
		}
	})
	if !started {
		<-b.repairs
	}
}

// replicate copies blobs to the next members of their order until enough have
// them, and notes who does. It does what it can: what fails is done at the next
// question.
func (b *Blobs) replicate(ctx context.Context, v *view, list []copying, era uint64) {
	for len(list) > 0 && ctx.Err() == nil {
		if list[0].digest.Size+batchEntry > batchBytes {
			list[0].has, _ = b.replicateLarge(ctx, v, cas.Upload, list[0], era)
			list = list[1:]
			continue
		}
		n, total := 0, int64(0)
		for n < len(list) && n < batchMost {
			if total += list[n].digest.Size + batchEntry; total > batchBytes {
				break
			}
			n++
		}
		b.replicateBatch(ctx, v, list[:n], era)
		list = list[n:]
	}
}

// replicateBatch copies blobs that fit into one message together.
func (b *Blobs) replicateBatch(ctx context.Context, v *view, list []copying, era uint64) {
	ds := make([]digest.Digest, len(list))
	for i := range list {
		ds[i] = list[i].digest
	}
	data, errs := b.GetMany(ctx, ds)
	blobs, from := make([]cas.Blob, 0, len(ds)), make([]*copying, 0, len(ds))
	for i, err := range errs {
		if err != nil {
			b.log.DebugContext(ctx, "copy a blob that has too few copies", "digest", ds[i].String(), "error", err)
			continue
		}
		blobs, from = append(blobs, cas.Blob{Digest: ds[i], Data: data[i]}), append(from, &list[i])
	}
	p := b.newPlacing(v, cas.Upload, blobs)
	p.era = era
	for i, c := range from {
		p.has[i] = c.has
	}
	p.run(ctx)
	for i, c := range from {
		b.counters.copied.Add(int64(p.has[i].without(c.has).count()))
		c.has = p.has[i]
	}
}

// replicateLarge copies one blob as a stream, to one member after the other, and
// returns who has it then, and why others have not.
func (b *Blobs) replicateLarge(ctx context.Context, v *view, class cas.Class, c copying, era uint64) (mask, outcome) {
	var why outcome
	var buf [maxMembers]int
	for _, at := range v.takers(&c.digest, buf[:0]) {
		if ctx.Err() != nil || c.has.count() >= v.copies {
			break
		}
		if c.has.has(at) {
			continue
		}
		if err := b.copyTo(ctx, v.members[at], class, c.digest); err != nil {
			why.note(err)
			continue
		}
		c.has |= one(at)
		b.counters.copied.Add(1)
	}
	if c.has.count() >= v.enoughCopies() {
		b.memo.add(&c.digest, era)
	}
	return c.has, why
}

// copyTo copies one blob to a member from any that has it.
func (b *Blobs) copyTo(ctx context.Context, to *member, class cas.Class, d digest.Digest) error {
	r := &reader{b: b, ctx: ctx, digest: d, tried: map[string]bool{to.id: true}}
	if err := r.next(); err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // it never fails
	w, err := b.openOn(ctx, to, class, d, "")
	if err != nil {
		return err
	}
	defer w.Close() //nolint:errcheck // it never fails
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, cas.PieceBytes)); err != nil {
		w.Abort()
		return fmt.Errorf("copy blob %s: %w", d, err)
	}
	return w.Commit()
}

// openOn begins an upload to one member, which may be this node.
func (b *Blobs) openOn(ctx context.Context, m *member, class cas.Class, d digest.Digest, id string) (cas.BlobWriter, error) {
	if m.self {
		w, err := b.local.OpenWriter(ctx, class, d, id)
		m.note(err)
		return w, err
	}
	w, err := m.openWriter(ctx, class, d, id)
	if err != nil {
		return nil, err
	}
	return w, nil
}
