package placement

import (
	"context"
	"fmt"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// FindMissing returns those of ds that no member has, each once, in the order
// asked (REAPI FindMissingBlobs). Every copy of the others is protected from now
// on, and a blob that is on too few members is copied before the answer.
// cas.ErrUnavailable when that takes long (repairPatience: it goes on behind the
// answer) or cannot be done, and when too many members cannot be asked to be certain
// that one is missing.
func (b *Blobs) FindMissing(ctx context.Context, ds []digest.Digest) (missing []digest.Digest, err error) {
	v := b.view.Load()
	if v.alone() {
		return b.local.FindMissing(ctx, ds)
	}
	err = b.patiently(ctx, func() error {
		missing, err = b.findMissing(ctx, ds)
		return err
	})
	return missing, err
}

func (b *Blobs) findMissing(ctx context.Context, ds []digest.Digest) ([]digest.Digest, error) {
	v := b.view.Load()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	era := b.era()
	unknown := b.unknown(ds, era)
	if len(unknown) == 0 {
		return nil, nil
	}
	s := b.newSurvey(v, unknown)
	if err := s.ask(ctx, func(i int) mask { return v.owners(&unknown[i]) }); err != nil {
		return nil, err
	}
	wanted := v.wanted()
	if err := s.ask(ctx, func(i int) mask { // of what the owners have, nobody else is asked
		if s.has[i].count() >= wanted {
			return 0
		}
		return v.up
	}); err != nil {
		return nil, err
	}
	return b.settle(ctx, s, era)
}

// unknown returns each of the blobs that is not known to be on enough members.
func (b *Blobs) unknown(ds []digest.Digest, era uint64) []digest.Digest {
	var unknown []digest.Digest
	var seen map[digest.Digest]struct{}
	for i := range ds {
		d := &ds[i]
		if d.IsEmpty() || b.memo.has(d, era) {
			continue
		}
		if seen == nil {
			seen, unknown = make(map[digest.Digest]struct{}, len(ds)-i), make([]digest.Digest, 0, len(ds)-i)
		}
		if _, twice := seen[*d]; !twice {
			seen[*d] = struct{}{}
			unknown = append(unknown, *d)
		}
	}
	return unknown
}

// settle remembers what is on enough members, has copied what is on too few, and
// returns what is missing.
func (b *Blobs) settle(ctx context.Context, s *survey, era uint64) ([]digest.Digest, error) {
	var missing []digest.Digest
	var short []copying
	enough := s.v.enoughCopies()
	for i := range s.ds {
		switch n := s.has[i].count(); {
		case n == 0:
			missing = append(missing, s.ds[i])
		case n >= enough:
			b.memo.add(&s.ds[i], era)
			b.noteMisplaced(s, i)
		default:
			short = append(short, copying{s.ds[i], s.has[i]})
		}
	}
	if len(missing) > 0 {
		answered := s.v.up.without(s.ill)
		if away := s.v.away(answered); len(away) >= s.v.least || s.v.outside() {
			return nil, s.v.unreachable("find missing blobs", away)
		}
	}
	if len(short) > 0 {
		copied, err := b.repair(ctx, s.v, short, era)
		if err == nil {
			err = s.v.certain(copied)
		}
		if err != nil {
			return nil, err
		}
	}
	return missing, nil
}

// certain refuses to call blobs present that are on too few members: what an upload
// that failed has left on one is no promise, and would be missed once that member
// cannot be asked.
func (v *view) certain(list []copying) error {
	few := 0
	for _, c := range list {
		if c.has.count() < v.least {
			few++
		}
	}
	if few > 0 {
		return fmt.Errorf("find missing blobs: %w: %d of them are on too few members yet", cas.ErrUnavailable, few)
	}
	return nil
}

// Present tells whether an upload of the blob would change nothing: it is on
// enough members, or was copied to them now. All copies are protected then. When
// that cannot be told it is false, and the upload goes on.
func (b *Blobs) Present(ctx context.Context, d digest.Digest) (bool, error) {
	v := b.view.Load()
	if v.alone() || d.IsEmpty() {
		return b.local.Present(ctx, d)
	}
	era := b.era()
	if b.memo.has(&d, era) {
		return true, nil
	}
	s := b.newSurvey(v, []digest.Digest{d})
	if err := s.ask(ctx, func(int) mask { return v.owners(&d) }); err != nil {
		return false, err
	}
	switch n := s.has[0].count(); {
	case n == 0:
		return false, nil
	case n >= v.enoughCopies():
		b.memo.add(&d, era)
		return true, nil
	}
	b.replicate(ctx, v, []copying{{d, s.has[0]}}, era)
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	return b.memo.has(&d, era), nil
}
