package cas

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestAnUploadGoesOnWhereItCameTo(t *testing.T) {
	t.Parallel()
	s := openStore(t, testOptions(t.TempDir()))
	for _, size := range []int{1000, 5*mib + 3} {
		b := testBlob(uint64(size), size)
		for at := 0; at < size; {
			w, err := s.ResumeWriter(t.Context(), Upload, b.Digest, "id")
			if err != nil {
				t.Fatal(err)
			}
			if w.Offset() != int64(at) {
				t.Fatalf("of %d bytes: goes on at %d, want %d", size, w.Offset(), at)
			}
			n := min(size/3+1, size-at)
			if _, err := w.Write(b.Data[at : at+n]); err != nil {
				t.Fatal(err)
			}
			if at += n; at == size {
				mustMiss(t, s, b) // complete, but nobody said so
				err = w.Commit()
			}
			if err := errors.Join(err, w.Close(), w.Close()); err != nil {
				t.Fatal(err)
			}
			offset, complete, known, err := s.UploadStatus(t.Context(), b.Digest, "id")
			if offset != int64(at) || complete != (at == size) || !known || err != nil {
				t.Errorf("status at %d of %d: %d, %t, %t, %v", at, size, offset, complete, known, err)
			}
		}
		mustHave(t, s, b)
	}
	if _, _, known, err := s.UploadStatus(t.Context(), testBlob(1, 5).Digest, "id"); known || err != nil {
		t.Errorf("an upload of another blob under the same id is known: %v", err)
	}
	if n := s.Stats().PartialUploads; n != 0 {
		t.Errorf("%d uploads are left", n)
	}
}

func TestTheLastCallHasTheUpload(t *testing.T) {
	t.Parallel()
	s := openStore(t, testOptions(t.TempDir()))
	b := testBlob(1, 3*mib)
	first, err := s.ResumeWriter(t.Context(), Upload, b.Digest, "id")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Write(b.Data[:mib]); err != nil {
		t.Fatal(err)
	}
	second, err := s.ResumeWriter(t.Context(), Upload, b.Digest, "id")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Write(b.Data[mib:]); !errors.Is(err, ErrSuperseded) {
		t.Errorf("the first call writes on: %v", err)
	}
	first.Abort()
	_ = first.Close()
	if _, err := second.Write(b.Data[second.Offset():]); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(second.Commit(), second.Commit(), second.Close()); err != nil {
		t.Fatal(err)
	}
	mustHave(t, s, b)
}

func TestMoreThanTheDigestSaysIsRefused(t *testing.T) {
	t.Parallel()
	s := openStore(t, testOptions(t.TempDir()))
	b := testBlob(1, 100)
	w, err := s.ResumeWriter(t.Context(), Upload, b.Digest, "id")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Write(append(b.Data, 0)); !errors.Is(err, ErrMismatch) {
		t.Errorf("have %v, want ErrMismatch", err)
	}
	if _, _, known, _ := s.UploadStatus(t.Context(), b.Digest, "id"); known {
		t.Error("what can never be right is kept to be resumed")
	}
}

func TestPartialUploadsAreBoundedInNumberSizeAndAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, testOptions(t.TempDir()))
		begin := func(seed uint64, size, written int) {
			b := testBlob(seed, size)
			w, err := s.ResumeWriter(t.Context(), Upload, b.Digest, fmt.Sprint(seed))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(b.Data[:written]); err != nil {
				t.Fatal(err)
			}
			_ = w.Close()
		}
		for seed := range uint64(12) { // small blobs wait in memory
			begin(seed, maxWhole, mib)
			time.Sleep(time.Second)
		}
		if n := s.Stats().PartialUploads; n == 0 || n > maxIdleMemory/mib {
			t.Errorf("%d uploads of 1 MiB wait in memory", n)
		}
		for seed := range uint64(12) { // large ones on the disk
			begin(100+seed, 3*mib, mib)
			time.Sleep(time.Second)
		}
		kept := int64(0)
		for _, u := range s.writers.list() {
			kept += u.kept
		}
		if kept == 0 || kept > MinMaxBytes/idleShareOfRing {
			t.Errorf("%d bytes of uploads wait on the disk", kept)
		}
		time.Sleep(UploadAge + time.Minute) // maintenance looks, unasked
		synctest.Wait()
		if n := s.Stats().PartialUploads; n != 0 {
			t.Errorf("%d uploads are kept for ever", n)
		}
	})
}
