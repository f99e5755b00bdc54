package placement

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/uuid"

	"github.com/bgrid-node/bgrid-node/store/cas"
)

// part uploads the bytes from at to end under an id, and breaks off.
func (n *node) part(t *testing.T, b cas.Blob, id string, at, end int) {
	t.Helper()
	w, err := n.blobs.OpenWriter(t.Context(), cas.Upload, b.Digest, id)
	if err != nil {
		t.Fatal(err)
	}
	if w.Offset() != int64(at) {
		t.Fatalf("the upload goes on at %d, want %d", w.Offset(), at)
	}
	for at < end {
		k := min(200_000, end-at)
		if _, err := w.Write(b.Data[at : at+k]); err != nil {
			t.Fatal(err)
		}
		at += k
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAnUploadIsResumedThroughAnyNode(t *testing.T) {
	g := newGrid(t, 3)
	for i, size := range []int{1 << 20, 9 << 20} {
		b, id := blob(size, uint64(i)), uuid.NewString()
		at := 0
		for k, n := range g.nodes {
			g.nodes[(k+1)%3].part(t, b, id, at, at+size/4)
			at += size / 4
			offset, complete, known, err := n.blobs.UploadStatus(t.Context(), b.Digest, id)
			if err != nil || offset != int64(at) || complete || !known {
				t.Fatalf("after %d bytes: %d, %t, %t, %v", at, offset, complete, known, err)
			}
		}
		w, err := g.nodes[0].blobs.OpenWriter(t.Context(), cas.Upload, b.Digest, id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(b.Data[at:]); err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
		if holders := g.holders(b.Digest); len(holders) != 2 {
			t.Errorf("the blob is on %v", holders)
		}
		if offset, complete, _, err := g.nodes[1].blobs.UploadStatus(t.Context(), b.Digest, id); !complete || offset != int64(size) || err != nil {
			t.Errorf("in the end: %d, %t, %v", offset, complete, err)
		}
	}
}

func TestAnUploadThatIsGivenUpBeginsAnew(t *testing.T) {
	g := newGrid(t, 3)
	b, id := blob(5<<20, 1), uuid.NewString()
	for _, n := range g.nodes {
		n.part(t, b, id, 0, 2<<20)
		w, err := n.blobs.OpenWriter(t.Context(), cas.Upload, b.Digest, id)
		if err != nil || w.Offset() != 2<<20 {
			t.Fatalf("%s: %v", n.id, err)
		}
		w.Abort()
		_ = w.Close()
		if offset, _, known, err := n.blobs.UploadStatus(t.Context(), b.Digest, id); offset != 0 || known || err != nil {
			t.Errorf("%s: %d bytes are left, %v", n.id, offset, err)
		}
	}
}

// A member that was away for a part of an upload has nothing of it, or less.
func TestAnUploadIsResumedWithoutAMemberThatHasNothingOfIt(t *testing.T) {
	g := newGrid(t, 3)
	b, id := blob(9<<20, 1), uuid.NewString()
	n, away := g.rank(b.Digest, 0), g.rank(b.Digest, 1)
	g.part(away)
	n.part(t, b, id, 0, 4<<20)
	g.join()
	w, err := n.blobs.OpenWriter(t.Context(), cas.Upload, b.Digest, id)
	if err != nil || w.Offset() != 4<<20 {
		t.Fatalf("it goes on at %d, %v", w.Offset(), err)
	}
	if _, err := w.Write(b.Data[4<<20:]); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if data, err := away.store.Get(t.Context(), b.Digest); err != nil || !bytes.Equal(data, b.Data) {
		t.Errorf("its copy: %d bytes, %v", len(data), err)
	}
}

// Members are not equally far: what all have is not sent again, and who is further
// gets no byte twice.
func TestAnUploadIsResumedWhereAllMembersAre(t *testing.T) {
	g := newGrid(t, 3)
	for ahead := range 2 {
		b, id := blob(9<<20, uint64(ahead)), uuid.NewString()
		n := g.rank(b.Digest, 2)
		n.part(t, b, id, 0, 2<<20)
		w, err := g.rank(b.Digest, ahead).store.OpenWriter(t.Context(), cas.Upload, b.Digest, id)
		if err != nil || w.Offset() != 2<<20 {
			t.Fatalf("the owner has %d bytes, %v", w.Offset(), err)
		}
		if _, err := w.Write(b.Data[2<<20 : 3<<20+5]); err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
		n.part(t, b, id, 2<<20, 8<<20)
		again, err := n.blobs.OpenWriter(t.Context(), cas.Upload, b.Digest, id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := again.Write(b.Data[again.Offset():]); err != nil {
			t.Fatal(err)
		}
		if err := again.Commit(); err != nil {
			t.Fatal(err)
		}
		_ = again.Close()
		if copied := n.blobs.Stats().Copied; len(g.holders(b.Digest)) != 2 || copied != 0 {
			t.Errorf("it is on %v, %d of the copies made in the end", g.holders(b.Digest), copied)
		}
	}
}

func TestTheNewestCallHasTheUpload(t *testing.T) {
	g := newGrid(t, 3)
	b, id := blob(9<<20, 1), uuid.NewString()
	old, err := g.nodes[0].blobs.OpenWriter(t.Context(), cas.Upload, b.Digest, id)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close() //nolint:errcheck // it never fails
	if _, err := old.Write(b.Data[:1<<20]); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 2; { // until both owners know of it
		if _, _, known, _ := g.rank(b.Digest, i).store.UploadStatus(t.Context(), b.Digest, id); known {
			i++
		} else if t.Context().Err() != nil {
			t.Fatal("the old call never arrives")
		}
	}
	fresh, err := g.nodes[1].blobs.OpenWriter(t.Context(), cas.Upload, b.Digest, id)
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close() //nolint:errcheck // it never fails
	if _, err := fresh.Write(b.Data[fresh.Offset():]); err != nil {
		t.Fatal(err)
	}
	if err := fresh.Commit(); err != nil {
		t.Fatal(err)
	}
	_, err = old.Write(b.Data[old.Offset():])
	if err == nil {
		err = old.Commit()
	}
	if err != nil && !errors.Is(err, cas.ErrSuperseded) && !errors.Is(err, cas.ErrClosed) && !errors.Is(err, cas.ErrUnavailable) {
		t.Errorf("the old call: %v", err)
	}
	if data, err := g.nodes[2].blobs.Get(t.Context(), b.Digest); err != nil || !bytes.Equal(data, b.Data) {
		t.Errorf("read %d bytes, %v", len(data), err)
	}
}
