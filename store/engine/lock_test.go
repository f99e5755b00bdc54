package engine

import (
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAReleasedLockIsFreeThoughAForkedChildStillHasItsFile holds a copy of the
// descriptor, as a child has it between fork and exec.
func TestAReleasedLockIsFreeThoughAForkedChildStillHasItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "LOCK")
	first, err := Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	child, err := unix.Dup(int(first.f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child)
	if _, err := Acquire(path); !errors.Is(err, ErrHeld) {
		t.Errorf("a second time: %v", err)
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	again, err := Acquire(path)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	if err := again.Release(); err != nil {
		t.Error(err)
	}
}
