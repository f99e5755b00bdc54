package placement

import (
	"errors"
	"testing"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// An upload that failed may have left one copy. It is called present only once
// there are as many as an acknowledged blob has: until then, that "missing" would
// be certain while its only holder is away.
func TestAStrayCopyIsNotPresentUntilItHasCompany(t *testing.T) {
	g := newGrid(t, 3)
	holder, b := g.nodes[0], blob(1000, 1)
	if err := holder.store.PutMany(t.Context(), cas.Upload, []cas.Blob{b})[0]; err != nil {
		t.Fatal(err)
	}
	g.part(holder)
	if missing, err := holder.blobs.FindMissing(t.Context(), []digest.Digest{b.Digest}); !errors.Is(err, cas.ErrUnavailable) {
		t.Errorf("FindMissing where nobody else can be reached: %v, %v", missing, err)
	}
	if present, err := holder.blobs.Present(t.Context(), b.Digest); present {
		t.Errorf("Present where nobody else can be reached: %v", err)
	}
	g.join()
	for _, n := range []*node{g.nodes[1], holder} {
		if missing, err := n.blobs.FindMissing(t.Context(), []digest.Digest{b.Digest}); err != nil || len(missing) > 0 {
			t.Errorf("FindMissing when all can be reached: %v, %v", missing, err)
		}
	}
	if ids := g.holders(b.Digest); len(ids) != 2 {
		t.Errorf("it is on %v", ids)
	}
}
