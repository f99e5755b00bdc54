package cas

import (
	"os"
	"path/filepath"
	"testing"
)

// Badger writes as it closes, into a mapping: on a full disk that would kill the
// process. What is left is found as after a crash.
func TestCloseOnAFullDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t)
	o := testOptions(filepath.Join(disk, "store"))
	s := openStore(t, o)
	kept := []Blob{testBlob(1, 5000), testBlob(2, 3*mib)}
	put(t, s, kept...)
	takeAll(t, filepath.Join(disk, "other"))
	closeStore(t, s)
	after := t.TempDir() // the process would end here, and its locks with it
	if err := os.CopyFS(after, os.DirFS(o.Dir)); err != nil {
		t.Fatal(err)
	}
	o.Dir = after
	s = openStore(t, o)
	mustHave(t, s, kept...)
	closeStore(t, s)
}
