package cas

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAFullDiskRefusesWritesAndRecovers lets somebody else take all of the disk,
// unnoticed until a write finds out: the write is refused as full, what was stored
// is served, and when there is room again everything goes on.
func TestAFullDiskRefusesWritesAndRecovers(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t)
	o := testOptions(filepath.Join(disk, "store"))
	o.MaxBytes = 128 * mib // more than there is
	s := openStore(t, o)
	kept := []Blob{testBlob(1, 5000), testBlob(2, 3*mib)}
	put(t, s, kept...)
	other := filepath.Join(disk, "other")
	takeAll(t, other)
	for i, b := range []Blob{testBlob(3, 900<<10), testBlob(4, 3*mib)} {
		lookedJustBefore(s)
		err := errors.Join(s.PutMany(t.Context(), Upload, []Blob{b})...)
		if !isFull(err) || !strings.Contains(err.Error(), "disk") {
			t.Errorf("blob %d on a full disk: %v", i, err)
		}
		mustMiss(t, s, b)
	}
	mustHave(t, s, kept...)
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	for _, b := range []Blob{testBlob(3, 900<<10), testBlob(4, 3*mib)} {
		eventually(t, "there is room again", func() bool {
			return s.PutMany(t.Context(), Upload, []Blob{b})[0] == nil
		})
		kept = append(kept, b)
	}
	if err := s.Sync(t.Context()); err != nil {
		t.Error(err)
	}
	closeStore(t, s)
	s = openStore(t, o)
	mustHave(t, s, kept...)
}

// takeAll writes a file until the disk is full.
func takeAll(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, step := range []int{mib, 4096} {
		block := make([]byte, step)
		for err = nil; err == nil; _, err = f.Write(block) {
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
	}
}

// TestAnUploadGoesOnAfterAPieceFailedBehindIt fills the disk while a stream comes
// in: the piece that is stored while the next one comes fails, a later call says
// so, and nothing that was taken is lost when there is room again.
func TestAnUploadGoesOnAfterAPieceFailedBehindIt(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t)
	o := testOptions(filepath.Join(disk, "store"))
	o.MaxBytes = 128 * mib
	s := openStore(t, o)
	b := testBlob(1, 3*mib)
	other := filepath.Join(disk, "other")
	takeAll(t, other)
	w, err := s.ResumeWriter(t.Context(), Upload, b.Digest, "id")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	lookedJustBefore(s)
	if _, err := w.Write(b.Data[:pieceBytes]); err != nil {
		t.Fatalf("the first piece is refused before it is stored: %v", err)
	}
	<-w.up.behind.done
	lookedJustBefore(s)
	n, err := w.Write(b.Data[pieceBytes : 3*pieceBytes])
	if !isFull(err) {
		t.Fatalf("a piece behind cannot be stored, and the next call says %v", err)
	}
	if have := w.Offset(); have != int64(pieceBytes+n) {
		t.Errorf("the offset is %d, %d bytes were taken", have, pieceBytes+n)
	}
	mustMiss(t, s, b)
	if err := errors.Join(w.Close(), os.Remove(other)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is room again", func() bool { return s.space.hasRoom(Upload, mib) })
	w, err = s.ResumeWriter(t.Context(), Upload, b.Digest, "id")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if w.Offset() != int64(pieceBytes+n) {
		t.Fatalf("it goes on at %d", w.Offset())
	}
	if _, err := w.Write(b.Data[w.Offset():]); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	mustHave(t, s, b)
}

// smallDisk mounts a file system of 64 MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("mounting a small disk needs root: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	return disk
}

// lookedJustBefore makes the store believe for a moment that the disk has room.
func lookedJustBefore(s *Store) {
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	s.space.diskLeft, s.space.diskSince, s.space.diskAsked = 32*mib, 0, time.Now()
}
