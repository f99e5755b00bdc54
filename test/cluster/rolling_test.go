package cluster

import (
	"path/filepath"
	"testing"

	"github.com/bgrid-node/bgrid-node/test/bazel"
)

// buildParts makes a build that takes longer than a rolling restart.
const buildParts = 32

// TestARollingRestartDoesNotShowInABuild: Bazel builds behind a load balancer while
// all nodes are restarted, one after the other. Its log has no word of it, and no
// command is run twice.
func TestARollingRestartDoesNotShowInABuild(t *testing.T) {
	if err := bazel.Installed(); err != nil {
		t.Fatal(err)
	}
	g := startGrid(t, Options{Slots: 1})
	if err := g.RestartDuringABuild(t.Context(), filepath.Join(g.dir, "build"), buildParts, 1, 1); err != nil {
		t.Fatal(err)
	}
}
