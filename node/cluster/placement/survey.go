package placement

import (
	"context"
	"sync"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// survey finds out which members have which blobs. Each copy that it finds is
// protected from then on.
type survey struct {
	b     *Blobs
	v     *view
	ds    []digest.Digest
	has   []mask // of each blob, those known to have it
	asked []mask // those that were asked for it
	ill   mask   // members that did not answer
}

func (b *Blobs) newSurvey(v *view, ds []digest.Digest) *survey {
	masks := make([]mask, 2*len(ds))
	return &survey{b: b, v: v, ds: ds, has: masks[:len(ds)], asked: masks[len(ds):]}
}

// answer is what one member lacks of what it was asked for.
type answer struct {
	at      int
	lacking []int
	err     error
}

// ask asks members for blobs: of each blob those in whom(i) that were not asked
// yet. Other members are asked at the same time as this one.
func (s *survey) ask(ctx context.Context, whom func(i int) mask) error {
	lists := make([][]int, len(s.v.members))
	for i := range s.ds {
		for rest := whom(i).without(s.asked[i]); rest != 0; rest &= rest - 1 {
			at := rest.first()
			if lists[at] == nil {
				lists[at] = make([]int, 0, len(s.ds)-i)
			}
			lists[at] = append(lists[at], i)
		}
	}
	answers := make([]answer, len(lists))
	s.v.each(lists, func(at int, asked []int) {
		lacking, err := s.b.missing(ctx, s.v.members[at], s.ds, asked)
		answers[at] = answer{at, lacking, err}
	})
	for at, a := range answers {
		s.take(lists[at], a)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (s *survey) take(asked []int, a answer) {
	if a.err != nil {
		s.ill |= one(a.at)
	}
	for _, i := range asked {
		s.asked[i] |= one(a.at)
		if a.err == nil {
			s.has[i] |= one(a.at)
		}
	}
	for _, i := range a.lacking {
		s.has[i] &^= one(a.at)
	}
}

// each calls do with the list of each member that has one: for the others in the
// background, for this node here. It returns when all are done.
func (v *view) each(lists [][]int, do func(at int, list []int)) {
	var wg sync.WaitGroup
	for at, list := range lists {
		if len(list) > 0 && at != v.self {
			wg.Go(func() { do(at, list) })
		}
	}
	if v.self != nobody && len(lists[v.self]) > 0 {
		do(v.self, lists[v.self])
	}
	wg.Wait()
}
