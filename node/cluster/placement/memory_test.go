package placement

import (
	"encoding/binary"
	"io"
	"runtime"
	"testing"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// endless is content of any size that is not held anywhere.
type endless struct {
	piece []byte
	at    uint64
}

func (e *endless) next() []byte {
	binary.LittleEndian.PutUint64(e.piece, e.at)
	e.at++
	return e.piece
}

// A stream through a node that keeps no copy needs no more memory than a few
// messages, however long it is: up, and down again.
func TestALargeBlobNeedsLittleMemory(t *testing.T) {
	const pieces = 256
	g := newGrid(t, 3, option{maxBytes: 2 << 30})
	source := endless{piece: blob(1<<20, 1).Data}
	hash := digest.SHA256.New()
	for range pieces {
		hash.Write(source.next())
	}
	d := digest.FromHash(digest.SHA256, hash, pieces<<20)
	n := g.rank(d, 2)

	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	most, looks := uint64(0), 0
	look := func() {
		if looks++; looks%32 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
		}
	}
	w, err := n.blobs.OpenWriter(t.Context(), cas.Upload, d, "")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close() //nolint:errcheck // it never fails
	source.at = 0
	for range pieces {
		if _, err := w.Write(source.next()); err != nil {
			t.Fatal(err)
		}
		look()
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if ok, _ := n.store.Present(t.Context(), d); ok || len(g.holders(d)) != 2 {
		t.Fatalf("it is on %v", g.holders(d))
	}
	r, err := n.blobs.OpenReader(t.Context(), d, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // it never fails
	buffer, total := make([]byte, cas.PieceBytes), 0
	for err == nil {
		var k int
		k, err = r.Read(buffer)
		total += k
		look()
	}
	if err != io.EOF || total != pieces<<20 {
		t.Fatalf("read %d bytes, %v", total, err)
	}
	const limit = 64 << 20 // of three nodes
	if most > before.HeapAlloc+limit {
		t.Errorf("the heap grew from %d to %d MiB", before.HeapAlloc>>20, most>>20)
	}
	t.Logf("the heap has %d MiB at most", most>>20)
}
