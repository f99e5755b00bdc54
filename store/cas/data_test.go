package cas

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// TestATornDataFileLosesItsTailOnly copies a store that is open, as a power cut
// finds it, and loses the end of the data file in the ways that a file system
// does: cut, cut in the middle of a pack, never written. What lay before is there,
// what lay behind is missing, and what is written next disturbs nothing.
func TestATornDataFileLosesItsTailOnly(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	o.MaxBytes = 512 * mib
	s := openStore(t, o)
	early, late := testBlob(1, 5000), []Blob{testBlob(2, 5000), testBlob(3, 50<<10)}
	put(t, s, early)
	keep := s.lanes[laneFresh].current.data.end.Load()
	put(t, s, late...) // in one pack
	size := s.lanes[laneFresh].current.data.end.Load()
	for name, tear := range map[string]func(f *os.File) error{
		"cut before the pack": func(f *os.File) error { return f.Truncate(keep) },
		"cut in the pack":     func(f *os.File) error { return f.Truncate(keep + 1000) },
		"zeros": func(f *os.File) error {
			return errors.Join(f.Truncate(keep), f.Truncate(size))
		},
		"gone": func(f *os.File) error { return errors.Join(f.Truncate(0)) },
	} {
		t.Run(name, func(t *testing.T) {
			after := o
			after.Dir = t.TempDir()
			if err := os.CopyFS(after.Dir, os.DirFS(o.Dir)); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(dataFiles(after.Dir)[0], os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(tear(f), f.Close()); err != nil {
				t.Fatal(err)
			}
			s := openStore(t, after)
			if name != "gone" {
				mustHave(t, s, early)
			}
			if have := s.lanes[laneFresh].current.data.end.Load(); have < size {
				t.Errorf("the next pack would lie at %d, within what is referred to up to %d", have, size)
			}
			next := testBlob(9, 70<<10)
			put(t, s, next)
			for _, b := range late {
				mustMiss(t, s, b)
			}
			closeStore(t, s)
			s = openStore(t, after)
			for _, b := range late {
				mustMiss(t, s, b)
			}
			put(t, s, late...)
			mustHave(t, s, append(late, next)...)
			if n := s.Stats().DamagedBlobs; n != 0 {
				t.Errorf("%d blobs were found damaged instead of missing", n)
			}
		})
	}
}

// TestRotTakesOutOneBlobOfAPack flips a bit of one of several blobs that share a
// pack, in a store that is read, scrubbed, or recovered after a kill.
func TestRotTakesOutOneBlobOfAPack(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"read", "scrubbed", "recovered"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			o := testOptions(t.TempDir())
			o.MaxBytes = 512 * mib
			s := openStore(t, o)
			blobs := []Blob{testBlob(1, 3000), testBlob(2, 3000), testBlob(3, 3000)}
			put(t, s, blobs...)
			switch how {
			case "recovered":
				from := o.Dir
				o.Dir = t.TempDir()
				if err := os.CopyFS(o.Dir, os.DirFS(from)); err != nil {
					t.Fatal(err)
				}
			case "scrubbed":
				o.ScrubInterval = 100 * time.Millisecond
				fallthrough
			default:
				closeStore(t, s)
			}
			rot(t, o.Dir, blobs[1].Data[100:2000])
			s = openStore(t, o)
			if how == "scrubbed" {
				eventually(t, "the scrub read all", func() bool { return s.Stats().Scrubs > 0 })
				if ok, _ := s.Present(t.Context(), blobs[1].Digest); ok {
					t.Error("the scrub left a damaged blob")
				}
			}
			names := []digest.Digest{blobs[0].Digest, blobs[1].Digest, blobs[2].Digest}
			if _, errs := s.GetMany(t.Context(), names); errs[0] != nil || errs[2] != nil || !errors.Is(errs[1], ErrNotFound) {
				t.Errorf("have %v", errs)
			}
			mustHave(t, s, blobs[0], blobs[2])
			mustMiss(t, s, blobs[1])
		})
	}
}

// TestAnotherFormatIsRefused: neither what has no format nor what has another one
// is misread.
func TestAnotherFormatIsRefused(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(path string) error{
		"development build": os.Remove,
		"format 3": func(path string) error {
			return os.WriteFile(path, []byte(strings.Replace(format, "2", "3", 1)), 0o600)
		},
	} {
		o := testOptions(t.TempDir())
		s := openStore(t, o)
		b := testBlob(1, 5000)
		put(t, s, b)
		closeStore(t, s)
		if err := spoil(filepath.Join(o.Dir, formatName)); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), "format") || !strings.Contains(err.Error(), o.Dir) {
			t.Errorf("%s: have %v", name, err)
		}
		if err := os.WriteFile(filepath.Join(o.Dir, formatName), []byte(format), 0o600); err != nil {
			t.Fatal(err)
		}
		s = openStore(t, o)
		mustHave(t, s, b)
		closeStore(t, s)
	}
}

// TestConcurrentWritesLieApart writes to one data file from many callers.
func TestConcurrentWritesLieApart(t *testing.T) {
	t.Parallel()
	d, err := openData(t.TempDir(), 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	var all sync.WaitGroup
	for c := range 8 {
		all.Go(func() {
			for i := range 300 {
				block := content(uint64(1000*c+i), 100+i)
				at, err := d.write([][]byte{block[:50], block[50:]}, int64(len(block)))
				have := make([]byte, len(block))
				runtime.Gosched()
				if err := errors.Join(err, d.read(have, at)); err != nil || !bytes.Equal(have, block) {
					t.Errorf("caller %d, write %d: another content, %v", c, i, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// TestManyPartsAreWrittenInOrder writes more parts than one system call takes.
func TestManyPartsAreWrittenInOrder(t *testing.T) {
	t.Parallel()
	d, err := openData(t.TempDir(), 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	want := content(1, 10*mostVectors)
	var parts [][]byte
	for rest := want; len(rest) > 0; rest = rest[min(3, len(rest)):] {
		parts = append(parts, rest[:min(3, len(rest))])
	}
	at, err := d.write(parts, int64(len(want)))
	have := make([]byte, len(want))
	if err := errors.Join(err, d.read(have, at)); err != nil || !bytes.Equal(have, want) {
		t.Errorf("another content: %v", err)
	}
}

// TestSpaceThatWasAllocatedAheadIsGivenBack: a store at rest takes what is in it.
func TestSpaceThatWasAllocatedAheadIsGivenBack(t *testing.T) {
	t.Parallel()
	d, err := openData(t.TempDir(), 8*mib)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	at, err := d.write([][]byte{content(1, 100_000)}, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	ahead := diskUse(d.file.Name())
	if err := d.trim(); err != nil {
		t.Fatal(err)
	}
	if left := diskUse(d.file.Name()); ahead < 8*mib || left > 128<<10 {
		t.Errorf("it takes %d bytes, and %d when it is trimmed", ahead, left)
	}
	have := make([]byte, 100_000)
	if err := d.read(have, at); err != nil || !bytes.Equal(have, content(1, 100_000)) {
		t.Errorf("what was written is gone: %v", err)
	}
}

// TestRotIsFoundByReadsWithoutACopy reads a large blob into buffers of a piece,
// which go to the disk directly: what comes is right up to the damaged piece.
func TestRotIsFoundByReadsWithoutACopy(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	b := testBlob(1, 3*mib+5)
	put(t, s, b)
	rot(t, o.Dir, b.Data[2*mib+100:2*mib+1000])
	r, err := s.Reader(t.Context(), b.Digest, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	buffer, at := make([]byte, PieceBytes), 0
	for {
		n, err := r.Read(buffer)
		if errors.Is(err, ErrNotFound) {
			break
		}
		if err != nil || !bytes.Equal(buffer[:n], b.Data[at:at+n]) {
			t.Fatalf("at %d: wrong content, %v", at, err)
		}
		at += n
	}
	if at != 2*mib {
		t.Errorf("%d bytes came, the damage is in the piece at %d", at, 2*mib)
	}
	mustMiss(t, s, b)
}
