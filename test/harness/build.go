// Package harness runs bgrid-node as a process of its own, for tests and loops
// that need whole processes.
package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binaryVariable names a bgrid-node that is built already.
const binaryVariable = "TEST_BGRID_NODE"

// Build builds bgrid-node from this tree into dir and returns its path, or that
// of the environment variable TEST_BGRID_NODE.
func Build(ctx context.Context, dir string) (string, error) {
	if binary := os.Getenv(binaryVariable); binary != "" {
		return filepath.Abs(binary)
	}
	binary := filepath.Join(dir, "bgrid-node")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-o", binary, "github.com/bgrid-node/bgrid-node/cmd/bgrid-node")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build bgrid-node: %w\n%s", err, out)
	}
	return binary, nil
}

// Main is what TestMain of a package that starts nodes calls: it builds the
// binary once, for every Start of the package, and removes it afterwards.
func Main(m *testing.M) { Around(m.Run) }

// Around is Main for a package that does more than run its tests: the process ends
// with the exit code that run returns.
func Around(run func() int) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "bgrid-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, "make a directory for the binary:", err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary, err := Build(context.Background(), dir)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if err := os.Setenv(binaryVariable, binary); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return run()
	}())
}
