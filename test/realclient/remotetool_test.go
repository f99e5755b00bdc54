package realclient

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bgrid-node/bgrid-node/test/harness"
)

// remotetool is where `make setup` puts the tool of remote-apis-sdks.
const remotetool = "../../bin/remotetool"

// runRemotetool runs an operation against the node and returns its stdout.
func runRemotetool(t *testing.T, n *harness.Node, operation string, args ...string) string {
	t.Helper()
	path, err := filepath.Abs(remotetool)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("remotetool is not built: run `make setup` (%v)", err)
	}
	all := []string{"--service=" + n.GRPC, "--service_no_security", "--instance=" + harness.Instance, "--logtostderr", "--operation=" + operation}
	cmd := exec.CommandContext(t.Context(), path, append(all, args...)...)
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=/usr/bin:/bin"}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("remotetool %s: %v\n%s%s", operation, err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

func TestRemotetoolMovesBlobs(t *testing.T) {
	n := harness.Start(t, "--slots", "0")
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"empty": {}, "small": []byte("small\n"), "large": bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16),
	} {
		from, to := filepath.Join(dir, name), filepath.Join(dir, name+".back")
		writeFile(t, from, content)
		runRemotetool(t, n, "upload_blob", "--path="+from)
		runRemotetool(t, n, "download_blob", "--digest="+digestOf(content), "--path="+to)
		if !bytes.Equal(readFile(t, to), content) {
			t.Errorf("%s: came back with another content", name)
		}
	}
}

func TestRemotetoolMovesDirectories(t *testing.T) {
	n := harness.Start(t, "--slots", "0")
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "back")
	writeFile(t, filepath.Join(from, "a", "b", "c.txt"), []byte("c\n"))
	writeFile(t, filepath.Join(from, "a", "run.sh"), []byte("#!/bin/sh\n"))
	if err := os.Chmod(filepath.Join(from, "a", "run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("b/c.txt", filepath.Join(from, "a", "link")); err != nil {
		t.Fatal(err)
	}
	statsFile := filepath.Join(t.TempDir(), "stats.json")
	runRemotetool(t, n, "upload_dir", "--path="+from, "--symlink_behavior=preserve", "--json="+statsFile)
	var stats struct {
		RootDigest struct {
			Hash string
			Size int64
		}
	}
	if err := json.Unmarshal(readFile(t, statsFile), &stats); err != nil {
		t.Fatal(err)
	}
	root := fmt.Sprintf("%s/%d", stats.RootDigest.Hash, stats.RootDigest.Size)
	runRemotetool(t, n, "download_dir", "--digest="+root, "--path="+to)
	if have := readFile(t, filepath.Join(to, "a", "b", "c.txt")); string(have) != "c\n" {
		t.Errorf("a file came back as %q", have)
	}
	if info, err := os.Stat(filepath.Join(to, "a", "run.sh")); err != nil || info.Mode()&0o100 == 0 {
		t.Errorf("the executable came back as %v, %v", info, err)
	}
	if target, err := os.Readlink(filepath.Join(to, "a", "link")); err != nil || target != "b/c.txt" {
		t.Errorf("the symlink came back as %q, %v", target, err)
	}
}

func TestRemotetoolExecutes(t *testing.T) {
	n := harness.Start(t, "--slots", "1")
	action, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	writeFile(t, filepath.Join(action, "ac.textproto"), []byte("timeout: { seconds: 60 }\n"))
	writeFile(t, filepath.Join(action, "cmd.textproto"), []byte(`
arguments: "/bin/sh"
arguments: "-c"
arguments: "tr a-z A-Z <in/word >result && echo told"
environment_variables: { name: "PATH" value: "/usr/bin:/bin" }
output_files: "result"
`))
	writeFile(t, filepath.Join(action, "input", "in", "word"), []byte("loud\n"))
	stdout := runRemotetool(t, n, "execute_action", "--action_root="+action, "--path="+out)
	if !strings.Contains(stdout, "told") {
		t.Errorf("the action's stdout is not in %q", stdout)
	}
	if have := readFile(t, filepath.Join(out, "result")); string(have) != "LOUD\n" {
		t.Errorf("the output is %q", have)
	}
}

func digestOf(content []byte) string {
	return fmt.Sprintf("%x/%d", sha256.Sum256(content), len(content))
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
