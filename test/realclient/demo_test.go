package realclient

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDemo runs what `make demo` runs. It ends its node and leaves no files.
func TestDemo(t *testing.T) {
	tmp := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "../../demo/run.sh")
	cmd.Env = append(cmd.Environ(), "TMPDIR="+tmp)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the demo failed: %v\n%s", err, out)
	}
	if n := strings.Count(string(out), "executed  "); n != 4 {
		t.Errorf("%d commands were executed, want 4\n%s", n, out)
	}
	if n := strings.Count(string(out), "from the cache  "); n != 4 {
		t.Errorf("%d commands were answered from the cache, want 4\n%s", n, out)
	}
	if left, err := filepath.Glob(filepath.Join(tmp, "*")); err != nil || len(left) > 0 {
		t.Errorf("files are left behind: %v, %v", left, err)
	}
}
