package packaging

import (
	"archive/tar"
	"debug/elf"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const rootfs = top + "/packaging/image/rootfs.sh"

// gridTree returns the archive of the grid's file tree.
func gridTree(t *testing.T) string {
	t.Helper()
	archive := filepath.Join(t.TempDir(), "grid.tar")
	script(t, nil, rootfs, "grid", archive)
	return archive
}

func TestTheGridsTreeIsTheSameEachTime(t *testing.T) {
	first := gridTree(t)
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	second := filepath.Join(t.TempDir(), "second.tar")
	script(t, []string{"TMPDIR=" + t.TempDir(), "LC_ALL=C.UTF-8", "TZ=Asia/Tokyo"}, rootfs, "grid", second)
	same(t, first, second)
}

func TestTheGridsTreeHasNothingElse(t *testing.T) {
	want := []string{
		"./ 0755 0", "./dev/ 0755 0", "./etc/ 0755 0", "./etc/bgrid-node/ 0755 0", "./etc/group 0644 0", "./etc/passwd 0644 0", "./etc/ssl/ 0755 0", "./etc/ssl/certs/ 0755 0",
		"./etc/ssl/certs/ca-certificates.crt 0644 0", "./proc/ 0755 0", "./sys/ 0755 0", "./tmp/ 1777 0", "./usr/ 0755 0", "./usr/bin/ 0755 0", "./usr/bin/bgrid-node 0755 0",
		"./var/ 0755 0", "./var/lib/ 0755 0", "./var/lib/bgrid-node/ 0750 65532",
	}
	f, err := os.Open(gridTree(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var have []string
	for archive := tar.NewReader(f); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		have = append(have, entry(h))
		if h.ModTime.Unix() != 1700000000 {
			t.Errorf("%s is of %s", h.Name, h.ModTime)
		}
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Error(d)
	}
}

func TestTheGridRunsFromItsTree(t *testing.T) {
	tree := unpacked(t, gridTree(t))
	f, err := elf.Open(filepath.Join(tree, "usr/bin/bgrid-node"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the program needs a dynamic linker, and the image has none")
		}
	}
	out, err := inside(tree, "/usr/bin/bgrid-node", "version")
	if err != nil || !strings.HasPrefix(out, "bgrid-node ") {
		t.Errorf("have %q, %v", out, err)
	}
}

// TestTheWorkersTree compiles with the image's tools, and asks the worker there what
// its runners can do.
func TestTheWorkersTree(t *testing.T) {
	debian := needsDebian(t)
	archive := filepath.Join(t.TempDir(), "worker.tar")
	script(t, nil, rootfs, "worker", debian, archive)
	again := filepath.Join(t.TempDir(), "again.tar")
	script(t, []string{"TMPDIR=" + t.TempDir()}, rootfs, "worker", debian, again)
	same(t, archive, again)
	tree := unpacked(t, archive)
	compile := `echo 'int main() { return 0; }' >/tmp/a.cc && g++ -o /tmp/a /tmp/a.cc && /tmp/a && make --version >/tmp/out && python3 -c 'print(6*7)' && id -un`
	out, err := inside(tree, "sh", "-c", compile)
	if want := "42\nbgrid\n"; err != nil || out != want {
		t.Errorf("have %q, %v, want %q", out, err, want)
	}
	out, err = inside(tree, "/usr/bin/bgrid-node", "doctor", "--data-dir", "/tmp")
	for _, runner := range []string{"hosttools", "bubblewrap", "userchroot"} {
		if !strings.Contains(out, runner+": available") {
			t.Errorf("%s is not available: %v\n%s", runner, err, out)
		}
	}
	if out, err := inside(tree, "find", "/usr", "/etc", "-xdev", "-type", "f", "-perm", "/6000"); err != nil || out != "" {
		t.Errorf("set-user-ID programs: %q, %v", out, err)
	}
}

// The Debian tree takes a minute to make: where nobody asks, one is enough.
func TestTheDebianTreeIsTheSameEachTime(t *testing.T) {
	if os.Getenv("TEST_DEBOOTSTRAP") == "" {
		t.Skip("needs TEST_DEBOOTSTRAP=1, and minutes")
	}
	first, second := filepath.Join(t.TempDir(), "first.tar"), filepath.Join(t.TempDir(), "second.tar")
	script(t, nil, rootfs, "debian", first)
	script(t, nil, rootfs, "debian", second)
	same(t, first, second)
}
