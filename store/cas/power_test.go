package cas

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestAfterAPowerLossBlobsAreMissingNeverWrong takes a copy of a store that is
// open, as the disk would be after SIGKILL, and then loses parts of data files
// that no Sync covered, as a power cut does.
func TestAfterAPowerLossBlobsAreMissingNeverWrong(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	o.MaxBytes = 512 * mib // nothing is spilled, which would sync too
	s := openStore(t, o)
	synced := []Blob{testBlob(1, 5000), testBlob(2, 200<<10)}
	put(t, s, synced[0])
	put(t, s, synced[1])
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	small, large, late := testBlob(3, 5000), testBlob(4, 2*mib+500), testBlob(5, 100)
	put(t, s, small)
	put(t, s, large)
	put(t, s, late)
	for _, lost := range []struct {
		what string
		data []byte
		gone []Blob
		left []Blob
	}{
		{"nothing", nil, nil, []Blob{small, large, late}},
		{"a small blob", small.Data[:4096], []Blob{small}, nil},
		{"a piece", large.Data[pieceBytes : pieceBytes+4096], []Blob{large}, []Blob{small}},
	} {
		t.Run(lost.what, func(t *testing.T) {
			after := o
			after.Dir = t.TempDir()
			if err := os.CopyFS(after.Dir, os.DirFS(o.Dir)); err != nil {
				t.Fatal(err)
			}
			if lost.data != nil {
				zero(t, after.Dir, lost.data)
			}
			s := openStore(t, after)
			mustHave(t, s, synced...)
			mustHave(t, s, lost.left...)
			for _, b := range lost.gone {
				mustMiss(t, s, b)
			}
			for _, b := range []Blob{small, large, late} { // whatever else is there is right
				if ok, _ := s.Present(t.Context(), b.Digest); ok {
					mustHave(t, s, b)
				}
			}
			put(t, s, small, large, late)
			mustHave(t, s, small, large, late)
		})
	}
}

// zero overwrites content in data files as if it had never been written.
func zero(t *testing.T, dir string, data []byte) {
	t.Helper()
	for _, path := range dataFiles(dir) {
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(have, data); at >= 0 {
			clear(have[at : at+len(data)])
			if err := os.WriteFile(path, have, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("no data file holds the content")
}

// TestLogsThatBadgerHadJustMadeDoNotStopTheStart: Badger makes a log and gives it
// a size in two steps.
func TestLogsThatBadgerHadJustMadeDoNotStopTheStart(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	b := testBlob(1, 5000)
	put(t, s, b)
	closeStore(t, s)
	for _, name := range []string{"00077.mem", "000077.vlog"} {
		dirs, _ := filepath.Glob(filepath.Join(o.Dir, "gen-*"))
		if err := os.WriteFile(filepath.Join(dirs[0], name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s = openStore(t, o)
		mustHave(t, s, b)
		closeStore(t, s)
	}
}

// TestAGenerationBeyondRepairIsGivenUp damages the manifest of the open generation:
// the store opens without it, and no blob is present whose pieces lay in it.
func TestAGenerationBeyondRepairIsGivenUp(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	first := testBlob(1, 5000)
	put(t, s, first)
	for seed := uint64(2); s.Stats().Generations-s.Stats().OpenGenerations < 2; seed++ {
		put(t, s, testBlob(seed, 400<<10))
	}
	last := testBlob(1<<40, 5000)
	put(t, s, last)
	h, ok := s.lookup(last.Digest, 0)
	if !ok {
		t.Fatal("the blob is not there")
	}
	h.release()
	closeStore(t, s)
	if err := os.WriteFile(filepath.Join(h.generation.dir, "MANIFEST"), []byte("no manifest at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	mustHave(t, s, first)
	mustMiss(t, s, last)
	if s.LossEpoch() == 0 {
		t.Error("nobody is told of the loss")
	}
	put(t, s, last)
	mustHave(t, s, first, last)
}
