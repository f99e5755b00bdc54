package cas

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

func TestBlobsOfEverySizeComeBackAndSurviveAReopen(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	var blobs []Blob
	for i, n := range []int{1, 100, inlineBytes, packBytes, packBytes + 1, pieceBytes, maxWhole, maxWhole + 1, 4*pieceBytes + 7, 5 * mib} {
		blobs = append(blobs, testBlob(uint64(i), n))
	}
	put(t, s, append(blobs, blobs[0], blobOf(nil))...)
	mustHave(t, s, append(blobs, blobOf(nil))...)
	closeStore(t, s)
	s = openStore(t, o)
	mustHave(t, s, append(blobs, blobOf(nil))...)
	if n := s.Stats().Blobs; n != int64(len(blobs)) {
		t.Errorf("%d blobs, want %d", n, len(blobs))
	}
	wrongSize := blobs[1].Digest
	wrongSize.Size++
	if _, err := s.Get(t.Context(), wrongSize); !errors.Is(err, ErrNotFound) {
		t.Errorf("the right hash with another size: %v", err)
	}
}

func TestFindMissingKeepsTheOrderAndNamesEachOnce(t *testing.T) {
	t.Parallel()
	s := openStore(t, testOptions(t.TempDir()))
	a, b, c := testBlob(1, 10), testBlob(2, 10), testBlob(3, 3*mib)
	put(t, s, b)
	have, err := s.FindMissing(t.Context(), []digest.Digest{c.Digest, b.Digest, a.Digest, c.Digest, blobOf(nil).Digest, a.Digest})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]digest.Digest{c.Digest, a.Digest}, have); diff != "" {
		t.Error(diff)
	}
}

func TestDataThatItsDigestDoesNotNameIsRefused(t *testing.T) {
	t.Parallel()
	s := openStore(t, testOptions(t.TempDir()))
	for _, n := range []int{0, 10, 5 * mib} {
		good := testBlob(1, n+1)
		bad := Blob{Digest: good.Digest, Data: bytes.Clone(good.Data)}
		bad.Data[n] ^= 1
		short := Blob{Digest: good.Digest, Data: good.Data[:n]}
		other := testBlob(uint64(n+7), 5)
		errs := s.PutMany(t.Context(), Upload, []Blob{bad, other, short})
		if !errors.Is(errs[0], ErrMismatch) || errs[1] != nil || !errors.Is(errs[2], ErrMismatch) {
			t.Errorf("%d bytes: %v", n, errs)
		}
		for _, b := range []Blob{bad, short} {
			if err := stream(t.Context(), s, Upload, b, 100_000); !errors.Is(err, ErrMismatch) {
				t.Errorf("streamed %d bytes: %v", n, err)
			}
		}
		mustMiss(t, s, good)
		mustHave(t, s, other)
	}
}

func TestReadersBeginAnywhere(t *testing.T) {
	t.Parallel()
	s := openStore(t, testOptions(t.TempDir()))
	for _, size := range []int{1000, 3*mib + 5} {
		b := testBlob(9, size)
		put(t, s, b)
		for _, at := range []int{0, 1, size / 2, pieceBytes, size - 1, size} {
			if at > size {
				continue
			}
			r, err := s.Reader(t.Context(), b.Digest, int64(at))
			if err != nil {
				t.Fatal(err)
			}
			var whole bytes.Buffer
			_, err = r.WriteTo(&whole)
			if err != nil || !bytes.Equal(whole.Bytes(), b.Data[at:]) {
				t.Errorf("%d of %d: have %d bytes, %v", at, size, whole.Len(), err)
			}
			r, _ = s.Reader(t.Context(), b.Digest, int64(at))
			small, err := io.ReadAll(io.MultiReader(io.LimitReader(r, 7), r)) // in odd steps
			if err != nil || !bytes.Equal(small, b.Data[at:]) {
				t.Errorf("%d of %d in small steps: have %d bytes, %v", at, size, len(small), err)
			}
			_ = r.Close()
		}
		if _, err := s.Reader(t.Context(), b.Digest, int64(size+1)); err == nil {
			t.Errorf("an offset beyond %d is taken", size)
		}
	}
}

func TestTheSameBlobFromManyIsStoredOnce(t *testing.T) {
	t.Parallel()
	s := openStore(t, testOptions(t.TempDir()))
	blobs := []Blob{testBlob(1, 1000), testBlob(2, 3*mib)}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for _, b := range blobs {
				if err := stream(t.Context(), s, Upload, b, 70_000); err != nil {
					t.Error(err)
				}
				if err := s.PutMany(t.Context(), Upload, blobs)[0]; err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	mustHave(t, s, blobs...)
}

func TestASecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	openStore(t, o)
	if _, err := Open(t.Context(), o); !errors.Is(err, ErrLocked) {
		t.Errorf("have %v, want ErrLocked", err)
	}
}

func TestAClosedStoreSaysSo(t *testing.T) {
	t.Parallel()
	s := openStore(t, testOptions(t.TempDir()))
	b := testBlob(1, 10)
	w, err := s.Writer(t.Context(), Upload, b.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	closeStore(t, s)
	_, findErr := s.FindMissing(t.Context(), []digest.Digest{b.Digest})
	_, getErr := s.Get(t.Context(), b.Digest)
	_, writeErr := w.Write(b.Data)
	for _, err := range []error{findErr, getErr, writeErr, s.PutMany(t.Context(), Upload, []Blob{b})[0]} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("have %v, want ErrClosed", err)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{
		{MaxBytes: MinMaxBytes},
		{Dir: "d", MaxBytes: MinMaxBytes - 1},
		{Dir: "d", MaxBytes: MinMaxBytes, ProtectionWindow: -1},
		{Dir: "d", MaxBytes: MinMaxBytes, ProtectionWindow: MaxProtectionWindow + 1},
	} {
		if _, err := Open(t.Context(), o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

// TestAFullStoreRefusesAndRecovers fills a store with what is protected: uploads
// are refused first, outputs of actions a little later; nothing is lost; and when
// the window has passed there is room again.
func TestAFullStoreRefusesAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(t.TempDir())
		o.ProtectionWindow = time.Minute
		s := openStore(t, o)
		var kept []Blob
		fill := func(class Class) *FullError {
			for seed := uint64(len(kept)); ; seed++ {
				b := testBlob(seed, 200<<10)
				err := s.PutMany(t.Context(), class, []Blob{b})[0]
				var full *FullError
				if errors.As(err, &full) {
					mustMiss(t, s, b)
					return full
				}
				if err != nil {
					t.Fatal(err)
				}
				if kept = append(kept, b); len(kept) > 1000 {
					t.Fatal("the store is never full")
				}
			}
		}
		full := fill(Upload)
		if full.RetryAfter <= 0 || full.RetryAfter > 2*o.ProtectionWindow {
			t.Errorf("retry after %s, the window is %s", full.RetryAfter, o.ProtectionWindow)
		}
		uploads := len(kept)
		fill(Output)
		if len(kept) == uploads {
			t.Error("no output of an action fits into the reserve")
		}
		mustHave(t, s, kept...)
		if use, most := diskUse(o.Dir), o.MaxBytes/100*105; use > most {
			t.Errorf("the disk use is %d, the most is %d", use, most)
		}
		time.Sleep(2 * o.ProtectionWindow)
		put(t, s, testBlob(1<<40, 200<<10))
	})
}

func TestABlobThatCannotFitIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	s := openStore(t, testOptions(t.TempDir()))
	if _, err := s.Writer(t.Context(), Upload, digest.Digest{Function: digest.SHA256, Size: MinMaxBytes}); !isFull(err) {
		t.Errorf("have %v, want a *FullError", err)
	}
}

func TestADropCutShortIsFinishedAtTheNextStart(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	var blobs []Blob
	for i := range 40 {
		blobs = append(blobs, testBlob(uint64(i), 300<<10))
	}
	put(t, s, blobs...)
	eventually(t, "two generations are sealed", func() bool { return s.Stats().Generations-s.Stats().OpenGenerations >= 2 })
	closeStore(t, s)
	dirs, _ := filepath.Glob(filepath.Join(o.Dir, "gen-*"))
	if err := writeMarker(dirs[0], deadMarker); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dirs[1], dirs[1]+deadSuffix); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	eventually(t, "the dead are gone", func() bool {
		left, _ := filepath.Glob(filepath.Join(o.Dir, "*"+deadSuffix))
		return len(left) == 0 && !exists(dirs[0])
	})
	missing := 0
	for _, b := range blobs {
		if data, err := s.Get(context.Background(), b.Digest); errors.Is(err, ErrNotFound) {
			missing++
		} else if err != nil || !bytes.Equal(data, b.Data) {
			t.Fatal(err)
		}
	}
	if missing == 0 || missing == len(blobs) {
		t.Errorf("%d of %d blobs are missing", missing, len(blobs))
	}
}
