package placement

import (
	"errors"
	"slices"
	"testing"

	"github.com/bgrid-node/bgrid-node/store/cas"
)

// fill writes to a node's own store until it takes no more. When a file is closed
// it may find some hundred KiB again.
func (n *node) fill(t *testing.T, class cas.Class) {
	t.Helper()
	refused := 0
	for seed := uint64(1 << 40); refused < 10; seed++ {
		size := 512 << 10
		if refused > 0 {
			size = 16 << 10
		}
		err := n.store.PutMany(t.Context(), class, []cas.Blob{blob(size, seed)})[0]
		if full := (*cas.FullError)(nil); errors.As(err, &full) {
			refused++
		} else if err != nil || seed > 1<<40+5000 {
			t.Fatalf("it is never full: %v", err)
		}
	}
}

func TestAFullMemberIsPassedOver(t *testing.T) {
	g := newGrid(t, 3, option{maxBytes: 48 << 20}, option{})
	full := g.nodes[0]
	full.fill(t, cas.Upload)
	list := append(blobs(7, 3<<20, 1), blob(6<<20, 2), blob(6<<20, 3))
	for i, b := range list {
		n := g.nodes[i%3]
		if i%2 == 0 {
			n.put(t, b)
		} else if err := n.write(t.Context(), b, 1<<20); err != nil {
			t.Fatalf("blob %d: %v", i, err)
		}
		if holders := g.holders(b.Digest); !slices.Equal(holders, []string{"n2", "n3"}) {
			t.Errorf("blob %d is on %v", i, holders)
		}
	}
	missing, err := full.blobs.FindMissing(t.Context(), digests(list))
	if err != nil || len(missing) > 0 {
		t.Errorf("%d are missing, %v", len(missing), err)
	}
	if s := full.blobs.Stats(); s.Copied != 0 || s.Misplaced == 0 {
		t.Errorf("blobs with enough copies were copied: %+v", s)
	}
}

func TestWithoutRoomForTheCopiesAnUploadIsRefused(t *testing.T) {
	g := newGrid(t, 3, option{maxBytes: 48 << 20}, option{maxBytes: 48 << 20}, option{})
	g.nodes[0].fill(t, cas.Upload)
	g.nodes[1].fill(t, cas.Upload)
	refused := func(what string, err error) {
		t.Helper()
		if full := (*cas.FullError)(nil); !errors.As(err, &full) || full.RetryAfter <= 0 {
			t.Errorf("%s: %v, want a *cas.FullError", what, err)
		}
	}
	for i, n := range g.nodes {
		// One copy would be lost with its member.
		refused("a blob", n.blobs.PutMany(t.Context(), cas.Upload, []cas.Blob{blob(3<<20, uint64(i))})[0])
		refused("a stream", n.write(t.Context(), blob(5<<20, uint64(i)), 1<<20))
		// The room for outputs is found on other members too.
		b := blob(300<<10, uint64(100+i))
		if err := n.blobs.PutMany(t.Context(), cas.Output, []cas.Blob{b})[0]; err != nil {
			t.Errorf("an output: %v", err)
		}
		if holders := g.holders(b.Digest); len(holders) != 2 {
			t.Errorf("an output is on %v", holders)
		}
	}
}

// Both owners turn out to be full while a stream is under way, and the members
// that have room have seen nothing of it: the next try goes to them.
func TestAStreamThatFindsItsOwnersFullIsWorthAnotherTry(t *testing.T) {
	g := newGrid(t, 4, option{maxBytes: 48 << 20}, option{maxBytes: 48 << 20}, option{})
	g.nodes[0].fill(t, cas.Upload)
	g.nodes[1].fill(t, cas.Upload)
	b := blob(12<<20, 0)
	for seed := uint64(1); g.rank(b.Digest, 0).id > "n2" || g.rank(b.Digest, 1).id > "n2"; seed++ {
		b = blob(12<<20, seed)
	}
	n := g.nodes[3]
	if err := n.write(t.Context(), b, 1<<20); err != nil && !errors.Is(err, cas.ErrUnavailable) {
		t.Fatalf("the first try: %v", err)
	}
	if err := n.write(t.Context(), b, 1<<20); err != nil {
		t.Fatalf("the second try: %v", err)
	}
	if holders := g.holders(b.Digest); !slices.Equal(holders, []string{"n3", "n4"}) {
		t.Errorf("it is on %v", holders)
	}
}
