package cas

import (
	"io"
	"runtime"
	"testing"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// TestAStreamTakesLittleMemory streams a blob of 96 MiB in and out without ever
// holding it, and looks at how much the heap grew meanwhile.
func TestAStreamTakesLittleMemory(t *testing.T) {
	const size, most = 96 * mib, 24 * mib
	o := testOptions(t.TempDir())
	o.MaxBytes = 512 * mib
	s := openStore(t, o)
	block := content(1, mib)
	h := digest.SHA256.New()
	for range size / mib {
		h.Write(block)
	}
	d := digest.FromHash(digest.SHA256, h, size)
	base, peak := heap(), uint64(0)
	w, err := s.Writer(t.Context(), Upload, d)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for i := range size / mib {
		if _, err := w.Write(block); err != nil {
			t.Fatal(err)
		}
		if i%8 == 0 {
			peak = max(peak, heap())
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	r, err := s.Reader(t.Context(), d, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for {
		piece, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if n += len(piece); n%(8*mib) == 0 {
			peak = max(peak, heap())
		}
	}
	if n != size {
		t.Errorf("%d bytes came back", n)
	}
	if peak > base+most {
		t.Errorf("the heap grew by %d MiB", (peak-base)/mib)
	}
}

// heap returns the bytes that are in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
