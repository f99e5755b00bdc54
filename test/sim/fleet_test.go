package sim

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestFormation has nodes find each other, lose their disks and come back, all by
// themselves.
func TestFormation(t *testing.T) {
	for _, seed := range seeds(t, 8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			if err := form(t, seed, false); err != nil {
				t.Error(err)
			}
		})
	}
}

// form runs a fleet, and returns what was broken.
func form(t *testing.T, seed uint64, staleReads bool) (broken error) {
	t.Helper()
	dir := fastDir(t)
	o := options{seed: seed, nodes: 3, faults: 40 * time.Second, clients: 4, snapshotEvery: 64, verbose: os.Getenv("SIM_LOG") != ""}
	synctest.Test(t, func(t *testing.T) {
		f, began := newFleet(dir, o), time.Now()
		f.staleReads = staleReads
		broken = f.run()
		time.Sleep(2 * time.Minute) // calls that nobody waits for any more come to their end
		t.Logf("seed %d, %s: %d starts, %d disks lost, %d puts, %d reads", seed, time.Since(began), f.starts, f.wipes, f.puts, f.reads)
	})
	return broken
}

func TestStaleReadsOfAFleetAreFound(t *testing.T) {
	for seed := range uint64(6) {
		if err := form(t, seed+1, true); err != nil && strings.Contains(err.Error(), "a client reads result") {
			return
		}
	}
	t.Error("no seed showed it")
}
