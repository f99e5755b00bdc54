package sim

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// fastDir is a directory where a sync costs nothing.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "sim")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// simulate runs a grid with a planted bug or none, and returns what was broken.
func simulate(t *testing.T, o options, p plant) (broken error) {
	t.Helper()
	dir := fastDir(t)
	o.verbose = os.Getenv("SIM_LOG") != ""
	synctest.Test(t, func(t *testing.T) {
		w, err := newWorld(dir, o, p)
		if err != nil {
			t.Fatal(err)
		}
		if broken = w.run(); broken != nil {
			t.Logf("seed %d: %v", o.seed, broken) // what leaks besides ends the test before it can fail
		}
		time.Sleep(2 * time.Minute) // calls that nobody waits for any more come to their end
		t.Logf("seed %d, %d nodes, %s: %s", o.seed, o.nodes, time.Since(w.began), &w.stats)
	})
	return broken
}

// usual is what a run is like, of a seed.
func usual(seed uint64) options {
	o := options{seed: seed, nodes: 3, faults: 40 * time.Second, clients: 8, bots: 4, snapshotEvery: 64}
	if seed%4 == 0 {
		o.nodes = 5
	}
	return o
}

// TestSimulation tries other seeds each time. SIM_SEEDS says how many, SIM_SEED
// which alone; SIM_LOG shows what the nodes say.
func TestSimulation(t *testing.T) {
	for _, seed := range seeds(t, 20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			if err := simulate(t, usual(seed), plant{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func seeds(t *testing.T, count int) []uint64 {
	t.Helper()
	if text := os.Getenv("SIM_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return []uint64{seed}
	}
	if text := os.Getenv("SIM_SEEDS"); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	out := make([]uint64, count)
	for i := range out {
		out[i] = rand.Uint64()
	}
	return out
}
