package cas

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Somebody else's file fills the disk and goes: the store does not make clients
// wait for what it could free itself, nor refuse by what it saw a moment ago.
func TestAWriteIsTakenAsSoonAsTheDiskHasRoom(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t)
	o := testOptions(filepath.Join(disk, "store"))
	o.MaxBytes = 128 * mib
	s := openStore(t, o)
	defer closeStore(t, s)
	put(t, s, testBlob(1, 3*mib))
	other := filepath.Join(disk, "other")
	takeAll(t, other)
	b := testBlob(2, 3*mib)
	var full *FullError
	for range 2 { // the second knows that the cleaner can do nothing
		s.space.mu.Lock()
		s.space.diskAsked = time.Time{}
		s.space.mu.Unlock()
		if err := s.PutMany(t.Context(), Upload, []Blob{b})[0]; !errors.As(err, &full) || full.RetryAfter > 5*time.Minute {
			t.Fatalf("on a full disk: %v, %+v", err, full)
		}
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	s.space.mu.Lock()
	s.space.diskAsked = time.Now() // as if it had looked just before
	s.space.mu.Unlock()
	put(t, s, b)
	mustHave(t, s, b)
}
