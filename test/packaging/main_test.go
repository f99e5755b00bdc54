// Package packaging tests what is shipped: file trees of images, image archives, the
// Debian package and its services, dashboards and alerts.
package packaging

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bgrid-node/bgrid-node/test/harness"
)

const top = "../.."

func TestMain(m *testing.M) {
	if path := os.Getenv(seccompRole); path != "" {
		if err := playSeccomp(path, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	harness.Main(m)
}

// binary is the program that is packed.
func binary() string { return os.Getenv("TEST_BGRID_NODE") }

// script runs one of the packaging scripts on the program, with further variables.
func script(t *testing.T, variables []string, args ...string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "BINARY="+binary(), "SOURCE_DATE_EPOCH=1700000000", "VERSION=v1.2.3")
	cmd.Env = append(cmd.Env, variables...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

// output runs a command and returns what it prints.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := tryOutput(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tryOutput(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// needsDebian returns the archive of a whole Debian, or skips where the machine cannot
// make or use one.
func needsDebian(t *testing.T) string {
	t.Helper()
	archive, err := filepath.Abs(filepath.Join(top, "bin/image/debian.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(archive); err != nil {
		t.Skip("needs bin/image/debian.tar, which test/setup.sh makes as root with debootstrap")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to change the root directory")
	}
	return archive
}

// unpacked unpacks an archive into a directory of the test.
func unpacked(t *testing.T, archive string) string {
	t.Helper()
	dir := t.TempDir()
	args := []string{"-xf", archive, "-C", dir, "--numeric-owner"}
	if os.Geteuid() != 0 {
		args = append(args, "--no-same-owner")
	}
	output(t, "tar", args...)
	return dir
}

// inside runs a command of a file tree as the user of the images, in a sandbox whose
// root the tree is.
func inside(tree string, args ...string) (string, error) {
	return tryOutput("bwrap", append([]string{
		"--unshare-user", "--uid", "65532", "--gid", "65532", "--unshare-pid", "--unshare-ipc", "--die-with-parent",
		"--ro-bind", tree, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--clearenv",
		"--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin", "--",
	}, args...)...)
}

// same fails unless two files are the same, byte for byte.
func same(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(x, y) {
		t.Errorf("%s and %s differ", filepath.Base(a), filepath.Base(b))
	}
}
