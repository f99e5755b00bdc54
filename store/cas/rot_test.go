package cas

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// rot changes one byte of a piece of content wherever a data file has it.
func rot(t *testing.T, dir string, data []byte) {
	t.Helper()
	found := false
	for _, path := range dataFiles(dir) {
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(have, data)
		if at < 0 {
			continue
		}
		found = true
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{have[at] ^ 0x10}, int64(at)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !found {
		t.Fatal("no data file holds the content")
	}
}

// TestBitRotIsNeverServed flips a bit below a small blob and below the middle of a
// large one: both are missing from then on, somebody is told, and an upload heals
// them.
func TestBitRotIsNeverServed(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	for _, sealed := range []bool{false, true} {
		s := openStore(t, o)
		good, small, large := testBlob(1, 5000), testBlob(2, 5000), testBlob(3, 5*mib)
		put(t, s, good)
		put(t, s, small)
		put(t, s, large)
		if sealed {
			for seed := uint64(1 << 40); s.lanes[laneFresh].current == s.gens[0] && s.Stats().Generations < 6; seed++ {
				put(t, s, testBlob(seed, 900<<10))
			}
		}
		rot(t, o.Dir, small.Data[1000:2000])
		rot(t, o.Dir, large.Data[3*mib:3*mib+1000])
		before := s.LossEpoch()
		mustMissOnceRead(t, s, small)
		r, err := s.Reader(t.Context(), large.Digest, 0)
		if err != nil {
			t.Fatal(err)
		}
		have := &bytes.Buffer{}
		if _, err := r.WriteTo(have); !errors.Is(err, ErrNotFound) {
			t.Errorf("a large blob that rotted: %v", err)
		}
		if !bytes.HasPrefix(large.Data, have.Bytes()) || have.Len() < mib {
			t.Errorf("%d bytes came before the error, or wrong ones", have.Len())
		}
		mustMiss(t, s, large)
		mustHave(t, s, good)
		if s.LossEpoch() == before || s.Stats().DamagedBlobs != 2 {
			t.Errorf("loss epoch %d, %d blobs damaged", s.LossEpoch(), s.Stats().DamagedBlobs)
		}
		closeStore(t, s)
		s = openStore(t, o)
		mustMiss(t, s, small)
		mustMiss(t, s, large)
		put(t, s, small, large)
		mustHave(t, s, good, small, large)
		closeStore(t, s)
	}
}

// TestTheScrubFindsRotThatNobodyReads waits for the background scrub.
func TestTheScrubFindsRotThatNobodyReads(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	o.MaxBytes = 512 * mib // all in one generation, indexed when it is closed
	s := openStore(t, o)
	good, small, large := testBlob(1, 5000), testBlob(2, 5000), testBlob(3, 5*mib)
	put(t, s, good)
	put(t, s, large)
	put(t, s, small)
	closeStore(t, s)
	rot(t, o.Dir, small.Data[1000:2000])
	rot(t, o.Dir, large.Data[3*mib:3*mib+1000])
	o.ScrubInterval = time.Second
	s = openStore(t, o)
	eventually(t, "the scrub read all", func() bool { return s.Stats().Scrubs > 0 })
	if n := s.Stats().DamagedBlobs; n != 2 {
		t.Errorf("the scrub found %d damaged blobs, want 2", n)
	}
	for _, b := range []Blob{small, large} {
		if ok, err := s.Present(t.Context(), b.Digest); ok || err != nil {
			t.Errorf("%s rotted and is present: %v", b.Digest, err)
		}
	}
	mustHave(t, s, good)
}

// TestADamagedIndexIsMadeAgain damages an index in its header, which is found at
// the start, or in its records, which is found soon after; and removes others.
func TestADamagedIndexIsMadeAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		damage func(path string) error
	}{
		{"header", func(path string) error { return flip(path, 9) }},
		{"records", func(path string) error { return flip(path, -recordBytes) }},
		{"no index", os.Remove},
		{"no stamps", func(path string) error { return os.Remove(stampsPath(path)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := testOptions(t.TempDir())
			s := openStore(t, o)
			var blobs []Blob
			for i := range 12 {
				blobs = append(blobs, testBlob(uint64(i), 300<<10+i))
			}
			blobs = append(blobs, testBlob(99, 2*mib+500))
			put(t, s, blobs...)
			eventually(t, "a generation is sealed", func() bool { return s.gens[len(s.gens)-1].droppable.Load() })
			closeStore(t, s)
			indexes, _ := filepath.Glob(filepath.Join(o.Dir, "gen-*", "index-????????-????????"))
			for _, path := range indexes {
				if err := c.damage(path); err != nil {
					t.Fatal(err)
				}
			}
			s = openStore(t, o)
			eventually(t, "the blobs are there again", func() bool {
				for _, b := range blobs {
					if ok, _ := s.Present(t.Context(), b.Digest); !ok && !(c.name == "no stamps" && b.Digest.Size > maxWhole) {
						return false
					}
				}
				return true
			})
			for _, b := range blobs[:12] {
				mustHave(t, s, b)
			}
			if c.name != "no stamps" { // a list that reaches elsewhere may have been dead
				mustHave(t, s, blobs[12])
			}
			closeStore(t, s)
			s = openStore(t, o)
			mustHave(t, s, blobs[:12]...)
		})
	}
}

// flip changes a byte of a file; a negative offset counts from its end.
func flip(path string, at int64) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if at < 0 {
		at += int64(len(data))
	}
	data[at] ^= 0x40
	return os.WriteFile(path, data, 0o600)
}
