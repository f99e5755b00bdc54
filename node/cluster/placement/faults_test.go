package placement

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// unavailable checks that an error says which member cannot be reached.
func unavailable(t *testing.T, what string, err error, id string) {
	t.Helper()
	if !errors.Is(err, cas.ErrUnavailable) || errors.Is(err, cas.ErrNotFound) || !strings.Contains(err.Error(), id) {
		t.Errorf("%s: %v, want cas.ErrUnavailable that names %s", what, err, id)
	}
}

func TestMissingIsSaidOnlyWhenItIsCertain(t *testing.T) {
	g := newGrid(t, 3)
	there, gone := blob(1000, 1), []digest.Digest{blob(1000, 2).Digest, blob(9<<20, 2).Digest}
	g.nodes[0].put(t, there)
	for _, n := range g.nodes {
		for _, d := range gone {
			if _, err := n.blobs.Get(t.Context(), d); !errors.Is(err, cas.ErrNotFound) {
				t.Errorf("all members answer: %v", err)
			}
			if _, err := n.read(t.Context(), d, 1); !errors.Is(err, cas.ErrNotFound) {
				t.Errorf("all members answer, a stream: %v", err)
			}
		}
	}
	g.part(g.nodes[2])
	for _, n := range g.nodes[:2] {
		for _, d := range gone {
			_, err := n.blobs.Get(t.Context(), d)
			unavailable(t, "a read of the majority", err, "n3")
			_, err = n.read(t.Context(), d, 0)
			unavailable(t, "a stream of the majority", err, "n3")
		}
		// Each acknowledged blob has two copies: one member cannot hide both.
		missing, err := n.blobs.FindMissing(t.Context(), append(gone, there.Digest))
		if err != nil || len(missing) != len(gone) {
			t.Errorf("the majority: %d are missing, %v", len(missing), err)
		}
		if err := n.write(t.Context(), blob(5<<20, 3), 1<<20); err != nil {
			t.Errorf("an upload of the majority: %v", err)
		}
		n.put(t, blob(100, 4))
	}
	n := g.nodes[2]
	_, err := n.blobs.FindMissing(t.Context(), gone)
	unavailable(t, "the minority", err, "n1")
	unavailable(t, "an upload of the minority", n.blobs.PutMany(t.Context(), cas.Upload, []cas.Blob{blob(10, 5)})[0], "n2")
	unavailable(t, "a stream of the minority", n.write(t.Context(), blob(5<<20, 6), 1<<20), "n2")
	if _, err := n.blobs.Get(t.Context(), gone[0]); !errors.Is(err, cas.ErrUnavailable) {
		t.Errorf("a read of the minority: %v", err)
	}
}

// A member that vanishes between the choice and the write is replaced: nobody has
// noticed yet, its connections just break.
func TestAnOwnerThatVanishedIsReplaced(t *testing.T) {
	g := newGrid(t, 3)
	small, large := blobs(60, 400, 1), blob(6<<20, 2)
	g.nodes[0].put(t, blobs(10, 10, 9)...) // connections are open
	g.breakOff(g.nodes[2])
	n := g.nodes[0]
	n.put(t, small...)
	if err := n.write(t.Context(), large, 1<<20); err != nil {
		t.Fatal(err)
	}
	g.change(func() {})
	g.wantEverywhere(append(small, large), g.nodes[2])
	for _, b := range append(small, large) {
		if holders := g.holders(b.Digest); !slices.Equal(holders, []string{"n1", "n2"}) {
			t.Fatalf("a copy is on %v", holders)
		}
	}
}

func TestAnOwnerMayDieInTheMiddleOfAnUpload(t *testing.T) {
	for through, size := range []int{8 << 20, 12 << 20, 64 << 20} { // an owner, the other, and none
		g := newGrid(t, 3)
		b := blob(size, uint64(through))
		victim := g.rank(b.Digest, 1)
		n := g.rank(b.Digest, through)
		if n == victim {
			victim = g.rank(b.Digest, 0)
		}
		w, err := n.blobs.OpenWriter(t.Context(), cas.Upload, b.Digest, "")
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(b.Data); at += 1 << 20 {
			if at == size/2 {
				g.kill(victim)
			}
			if _, err := w.Write(b.Data[at : at+1<<20]); err != nil {
				t.Fatalf("at %d: %v", at, err)
			}
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
		for _, o := range g.nodes {
			if ok, err := o.store.Present(t.Context(), b.Digest); o != victim && (err != nil || !ok) {
				t.Errorf("through node %d: %s has no copy, %v", through, o.id, err)
			}
		}
		g.wantEverywhere([]cas.Blob{b}, victim)
	}
}

func TestAReadGoesOnFromAnotherCopy(t *testing.T) {
	g := newGrid(t, 3)
	b := blob(32<<20, 1)
	g.nodes[0].put(t, b)
	n, first := g.rank(b.Digest, 2), g.rank(b.Digest, 0)
	r, err := n.blobs.OpenReader(t.Context(), b.Digest, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // it never fails
	got := make([]byte, 12<<20)
	if _, err := io.ReadFull(r, got); err != nil {
		t.Fatal(err)
	}
	g.kill(first)
	rest, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(append(got, rest...), b.Data) {
		t.Errorf("after the break: %d bytes, %v", len(rest), err)
	}
	if n.blobs.Stats().FailedOver != 1 {
		t.Errorf("%+v", n.blobs.Stats())
	}
}

// A connection on which nothing comes any more is given up when the member is
// known to be away.
func TestACallToASilentMemberEnds(t *testing.T) {
	g := newGrid(t, 3)
	b := blob(1000, 1)
	silent, n := g.rank(b.Digest, 0), g.rank(b.Digest, 2)
	release := silent.hold()
	defer release()
	done := make(chan error)
	go func() { done <- n.blobs.PutMany(t.Context(), cas.Upload, []cas.Blob{b})[0] }()
	<-silent.held
	g.change(func() { g.cut[[2]string{n.id, silent.id}] = true })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if ok, _ := n.store.Present(t.Context(), b.Digest); !ok {
		t.Error("the next member has no copy")
	}
}

// So is a stream that is not read any more: it stops when the windows are full, and
// goes on without that member.
func TestAStreamToASilentMemberGoesOnWithoutIt(t *testing.T) {
	g := newGrid(t, 3)
	b := blob(32<<20, 1)
	silent, n := g.rank(b.Digest, 0), g.rank(b.Digest, 2)
	release := silent.hold()
	defer release()
	done := make(chan error)
	go func() { done <- n.write(t.Context(), b, 1<<20) }()
	<-silent.held
	g.change(func() { g.cut[[2]string{n.id, silent.id}] = true })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	g.wantEverywhere([]cas.Blob{b}, silent)
	if holders := g.holders(b.Digest); len(holders) != 2 || slices.Contains(holders, silent.id) {
		t.Errorf("it is on %v", holders)
	}
}

func TestConcurrentUploadsOfOneBlobAllSucceed(t *testing.T) {
	g := newGrid(t, 3)
	large, small := blob(6<<20, 1), blobs(20, 1000, 2)
	var wg sync.WaitGroup
	for i := range 9 {
		n := g.nodes[i%3]
		wg.Go(func() {
			if err := n.write(t.Context(), large, 200_000); err != nil {
				t.Errorf("through %s: %v", n.id, err)
			}
			if err := errors.Join(n.blobs.PutMany(t.Context(), cas.Upload, small)...); err != nil {
				t.Errorf("through %s: %v", n.id, err)
			}
		})
	}
	wg.Wait()
	g.wantEverywhere(append(small, large))
}

func TestACancelledCallSaysSo(t *testing.T) {
	g := newGrid(t, 3)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n, b := g.nodes[0], blob(100, 1)
	_, found := n.blobs.FindMissing(ctx, []digest.Digest{b.Digest})
	_, got := n.blobs.Get(ctx, b.Digest)
	_, opened := n.blobs.OpenReader(ctx, b.Digest, 0)
	_, begun := n.blobs.OpenWriter(ctx, cas.Upload, b.Digest, "")
	_, present := n.blobs.Present(ctx, b.Digest)
	for i, err := range []error{found, got, opened, begun, present, n.blobs.PutMany(ctx, cas.Upload, []cas.Blob{b})[0]} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%d: %v", i, err)
		}
	}
}
