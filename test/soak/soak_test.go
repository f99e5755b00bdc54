package main

import (
	"os"
	"testing"
	"time"

	"github.com/bgrid-node/bgrid-node/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// short are the settings of a loop in miniature, without Bazel.
func short(t *testing.T, rounds int) *settings {
	binary, err := harness.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dir := t.TempDir()
	return &settings{binary: binary, dir: dir, rounds: rounds, seed: seed, out: t.Output()}
}

// TestKill kills a node three times under load; `make soak` does it fifty times.
func TestKill(t *testing.T) {
	if err := killLoop(t.Context(), short(t, 3)); err != nil {
		t.Fatal(err)
	}
}

// TestCap sends more than twice the cap through a store; `make soak` sends more.
func TestCap(t *testing.T) {
	err := capRun(t.Context(), short(t, 0), capSizes{cap: 128 << 20, total: 300 << 20, window: 2 * time.Second, full: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
}

// TestPowerCut cuts the power twice, where images can be mounted.
func TestPowerCut(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may mount images")
	}
	if err := loopDevices(t.Context(), t.TempDir()); err != nil {
		t.Skip(err)
	}
	if err := powerLoop(t.Context(), short(t, 2)); err != nil {
		t.Fatal(err)
	}
}
