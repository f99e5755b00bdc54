package cas

import (
	"context"
	"errors"
	"testing"
)

func TestVerifyFindsWhatRottedAndLeavesItThere(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	tiny, small, large := testBlob(1, 100), testBlob(2, 50000), testBlob(3, 5*mib)
	put(t, s, tiny, small, large)
	for seed := range uint64(20) {
		put(t, s, testBlob(100+seed, 3000))
	}
	verify := func(damaged int) {
		t.Helper()
		var read, all int64
		v, err := s.Verify(t.Context(), func(r, a int64) { read, all = r, a })
		if err != nil {
			t.Fatal(err)
		}
		if v.Blobs != 23 || v.Bytes < 5*mib || len(v.Damaged) != damaged || read != all || all < 5*mib {
			t.Errorf("verified %d blobs of %d bytes, progress %d of %d, want %d damaged: %v", v.Blobs, v.Bytes, read, all, damaged, v.Damaged)
		}
	}
	verify(0)
	rot(t, o.Dir, small.Data[1000:2000])
	rot(t, o.Dir, large.Data[3*mib:3*mib+1000])
	verify(2)
	verify(2)
	mustHave(t, s, tiny)
	mustMissOnceRead(t, s, small)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Verify(ended, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
}
