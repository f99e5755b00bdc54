package cas

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestTheCapHolds writes many times the cap, the disk being looked at all along.
// Whatever was put or found within the window must be readable.
func TestTheCapHolds(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	o.MaxBytes, o.ProtectionWindow = 48*mib, time.Second
	s := openStore(t, o)
	type kept struct {
		seed uint64
		size int
		used time.Time
	}
	var recent []kept
	rng := rand.New(rand.NewPCG(1, 1))
	worst, written := int64(0), 0
	for seed := uint64(0); written < 128*mib; seed++ {
		size := []int{1 << 10, 20 << 10, 300 << 10, 3 << 20}[rng.IntN(4)] + rng.IntN(999)
		used := time.Now()
		b := testBlob(seed, size)
		for {
			err := s.PutMany(t.Context(), Upload, []Blob{b})[0]
			if err == nil {
				break
			}
			if !isFull(err) {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		written += size
		recent = append(recent, kept{seed, size, used})
		for len(recent) > 0 && time.Since(recent[0].used) > o.ProtectionWindow {
			recent = recent[1:]
		}
		if len(recent) > 0 {
			i := rng.IntN(len(recent))
			k := recent[i]
			b := testBlob(k.seed, k.size)
			if time.Since(k.used) < o.ProtectionWindow {
				mustHave(t, s, b)
			}
		}
		if seed%16 == 0 {
			worst = max(worst, diskUse(o.Dir))
		}
	}
	if limit := o.MaxBytes / 100 * 105; worst > limit {
		t.Errorf("disk use went up to %d, the limit is %d", worst, limit)
	}
	st := s.Stats()
	if st.DroppedGenerations == 0 || st.EvictedBlobs == 0 {
		t.Errorf("nothing was evicted: %+v", st)
	}
	t.Logf("worst disk use %.3f of the cap, carried %.2f of what was written; %+v", float64(worst)/float64(o.MaxBytes),
		float64(st.CarriedBytes)/float64(st.WrittenBytes), st)
}
