package placement

import (
	"bytes"
	"slices"
	"testing"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

func TestANodeBecomesAClusterWithItsBlobs(t *testing.T) {
	g := newGrid(t, 1)
	list := append(sizes(1), blobs(50, 200, 2)...)
	g.nodes[0].put(t, list...)
	for range 2 {
		n := g.add()
		g.change(func() { g.members = append(g.members, n.id) })
		n.blobs.Join(n)
	}
	g.nodes[0].blobs.look(g.nodes[0])
	g.wantEverywhere(list)
	missing, err := g.nodes[2].blobs.FindMissing(t.Context(), digests(list))
	if err != nil || len(missing) > 0 {
		t.Fatalf("%d are missing, %v", len(missing), err)
	}
	for _, b := range list {
		if n := len(g.holders(b.Digest)); n < 2 {
			t.Errorf("%d bytes have %d copies", len(b.Data), n)
		}
	}
	g.kill(g.nodes[0])
	g.wantEverywhere(list, g.nodes[0])
}

// A node that is no member stores blobs of every size with members, not here.
func TestANodeThatIsNoMemberStoresWithMembers(t *testing.T) {
	g := newGrid(t, 3)
	n := g.add()
	n.blobs.Join(n)
	list, streamed := sizes(1), blob(5<<20, 2)
	n.put(t, list...)
	if err := n.write(t.Context(), streamed, 1<<20); err != nil {
		t.Fatal(err)
	}
	for _, b := range append(list, streamed) {
		if holders := g.holders(b.Digest); len(holders) != 2 || slices.Contains(holders, n.id) {
			t.Errorf("%d bytes are on %v", len(b.Data), holders)
		}
	}
	g.wantEverywhere(append(list, streamed))
}

func TestANewMemberMovesFewBlobs(t *testing.T) {
	g := newGrid(t, 3)
	list := blobs(400, 50, 1)
	g.nodes[0].put(t, list...)
	before := make(map[digest.Digest]mask)
	owners := func(d digest.Digest) mask { return g.nodes[0].blobs.view.Load().owners(&d) }
	for _, b := range list {
		before[b.Digest] = owners(b.Digest)
	}
	n := g.add()
	g.change(func() { g.members = append(g.members, n.id) })
	n.blobs.Join(n)
	moved := 0
	for _, b := range list {
		now := owners(b.Digest)
		if now != before[b.Digest] {
			moved++
			if !now.has(3) {
				t.Fatalf("a blob moved between old members")
			}
		}
	}
	if moved < 120 || moved > 280 { // half of them have the new one as one of two owners
		t.Errorf("%d of %d blobs have other owners", moved, len(list))
	}
	g.wantEverywhere(list)
	if missing, err := n.blobs.FindMissing(t.Context(), digests(list)); err != nil || len(missing) > 0 {
		t.Errorf("%d are missing, %v", len(missing), err)
	}
}

func TestAllNodesAgreeOnTheOrder(t *testing.T) {
	g := newGrid(t, 5)
	first := make([]int, 5)
	for _, b := range blobs(1000, 8, 1) {
		want := g.nodes[0].blobs.view.Load().order(&b.Digest, nil)
		first[want[0]]++
		for _, n := range g.nodes[1:] {
			if got := n.blobs.view.Load().order(&b.Digest, nil); !slices.Equal(got, want) {
				t.Fatalf("%v and %v", got, want)
			}
		}
	}
	for i, n := range first {
		if n < 150 || n > 250 {
			t.Errorf("member %d comes first for %d of 1000 blobs", i, n)
		}
	}
}

// What is known to be on enough members needs no question, until the bucket of
// time is over or a member is lost.
func TestWhatIsKnownIsNotAskedAgain(t *testing.T) {
	g := newGrid(t, 3)
	n, list := g.nodes[0], blobs(200, 100, 1)
	asked := func() int64 {
		t.Helper()
		before := n.blobs.Stats().Asked
		if missing, err := n.blobs.FindMissing(t.Context(), digests(list)); err != nil || len(missing) > 0 {
			t.Fatalf("%d are missing, %v", len(missing), err)
		}
		return n.blobs.Stats().Asked - before
	}
	g.nodes[1].put(t, list...)
	if a := asked(); a != 2 {
		t.Errorf("the first time: %d questions, want one to each member", a)
	}
	if a := asked(); a != 0 {
		t.Errorf("the second time: %d questions", a)
	}
	n.put(t, blobs(10, 100, 2)...)
	list = append(list, blobs(10, 100, 2)...)
	if a := asked(); a != 0 {
		t.Errorf("after an upload through this node: %d questions", a)
	}
	epoch := n.blobs.LossEpoch()
	g.part(g.nodes[2])
	if n.blobs.LossEpoch() <= epoch {
		t.Error("the loss of a member moves no LossEpoch")
	}
	if a := asked(); a == 0 {
		t.Error("after a loss nothing is asked")
	}
	epoch = n.blobs.LossEpoch()
	g.join()
	if n.blobs.LossEpoch() != epoch {
		t.Error("a member that comes back moves LossEpoch")
	}
}

// The content of a digest says nothing of the same hash with another size.
func TestASizeBelongsToTheName(t *testing.T) {
	g := newGrid(t, 3)
	b := blob(100, 1)
	g.nodes[0].put(t, b)
	other := b.Digest
	other.Size++
	missing, err := g.nodes[0].blobs.FindMissing(t.Context(), []digest.Digest{other, b.Digest, other})
	if err != nil || !slices.Equal(missing, []digest.Digest{other}) {
		t.Errorf("%v, %v", missing, err)
	}
}

// A damaged copy is taken out by its store when it is read, and restored from
// another member: by that read.
func TestBitRotIsHealedFromAPeer(t *testing.T) {
	g := newGrid(t, 3)
	for _, b := range []cas.Blob{blob(300<<10, 1), blob(6<<20, 2)} {
		g.nodes[0].put(t, b)
		owner := g.rank(b.Digest, 0)
		owner.rot(t, b)
		got, err := owner.read(t.Context(), b.Digest, 0)
		if err != nil || !bytes.Equal(got, b.Data) {
			t.Fatalf("%d bytes: read %d, %v", len(b.Data), len(got), err)
		}
		owner.blobs.rest()
		if data, err := owner.store.Get(t.Context(), b.Digest); err != nil || !bytes.Equal(data, b.Data) {
			t.Errorf("%d bytes: the owner's own copy: %d bytes, %v", len(b.Data), len(data), err)
		}
		if owner.store.Stats().DamagedBlobs == 0 {
			t.Fatal("nothing was damaged")
		}
	}
}
