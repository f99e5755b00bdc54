package placement

import (
	"bytes"
	"errors"
	"testing"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// A node that is no member, or not yet, passes on what it is asked. It cannot say
// that anything is missing: what it knows of the members may be old.
func TestANodeThatIsNoMemberKnowsNothingForCertain(t *testing.T) {
	g := newGrid(t, 3)
	n, stored, unknown := g.add(), blob(1000, 1), blob(1000, 2)
	n.blobs.Join(n)
	g.nodes[0].put(t, stored)
	if data, err := n.blobs.Get(t.Context(), stored.Digest); err != nil || !bytes.Equal(data, stored.Data) {
		t.Errorf("what a member has: %v", err)
	}
	n.put(t, blob(1000, 3))
	n.wantUnavailable(t, unknown.Digest)
	if ids := g.holders(blob(1000, 3).Digest); len(ids) != 2 {
		t.Errorf("what was stored through it is on %v", ids)
	}
}

// A node with an empty disk that is in touch with nobody yet is not alone.
func TestANodeThatKnowsNoMemberTakesNothing(t *testing.T) {
	g := newGrid(t, 0)
	n, b := g.add(), blob(1000, 1)
	n.blobs.Join(n)
	n.wantUnavailable(t, b.Digest)
	if err := n.blobs.PutMany(t.Context(), cas.Upload, []cas.Blob{b})[0]; !errors.Is(err, cas.ErrUnavailable) {
		t.Errorf("PutMany: %v", err)
	}
	if w, err := n.blobs.OpenWriter(t.Context(), cas.Upload, b.Digest, "u"); !errors.Is(err, cas.ErrUnavailable) {
		t.Errorf("OpenWriter: %v, %v", w, err)
	}
	if ids := g.holders(b.Digest); len(ids) != 0 {
		t.Errorf("%v have what was refused", ids)
	}
}

func (n *node) wantUnavailable(t *testing.T, d digest.Digest) {
	t.Helper()
	if missing, err := n.blobs.FindMissing(t.Context(), []digest.Digest{d}); !errors.Is(err, cas.ErrUnavailable) {
		t.Errorf("FindMissing: %v, %v", missing, err)
	}
	if _, err := n.blobs.Get(t.Context(), d); !errors.Is(err, cas.ErrUnavailable) {
		t.Errorf("Get: %v", err)
	}
	if r, err := n.blobs.OpenReader(t.Context(), d, 0); !errors.Is(err, cas.ErrUnavailable) {
		t.Errorf("OpenReader: %v, %v", r, err)
	}
}
