package runners

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"golang.org/x/sys/unix"
	"google.golang.org/genproto/googleapis/rpc/code"
	"pgregory.net/rapid"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

func openTest(t *testing.T, dir string) int {
	t.Helper()
	fd, err := openDir(unix.AT_FDCWD, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// TestNothingOpensOutsideOfTheRoot holds the way that old kernels take to the same
// rule: it may open less, never more.
func TestNothingOpensOutsideOfTheRoot(t *testing.T) {
	base := t.TempDir()
	root := filepath.Join(base, "root")
	for _, d := range []string{"root/d/e", "outside/d"} {
		if err := os.MkdirAll(filepath.Join(base, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"in": "d/e", "up": "..", "abs": base + "/outside", "d/back": "../d/e", "d/out": "../../outside", "loop": "loop", "proc": "/proc/self/root",
	} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	fd := openTest(t, root)
	for rel, want := range map[string]struct {
		open    bool
		without bool // where no link may be followed
		escape  bool
	}{
		"": {open: true, without: true}, "d": {open: true, without: true}, "d/e": {open: true, without: true},
		"in": {open: true}, "d/back": {open: true}, "up": {escape: true}, "abs": {escape: true}, "abs/d": {escape: true},
		"d/out": {escape: true}, "d/out/d": {escape: true}, "proc": {escape: true}, "loop": {}, "none": {},
	} {
		for way, open := range map[string]func(int, string, int) (int, error){"openat2": openBeneath, "by component": openWithoutLinks} {
			if way == "by component" && rel == "" {
				continue // openBeneath made it "."
			}
			got, err := open(fd, rel, unix.O_PATH|unix.O_DIRECTORY)
			if err == nil {
				unix.Close(got)
			}
			wantOpen := want.open && (way == "openat2" || want.without)
			if (err == nil) != wantOpen || (way == "openat2" && errors.Is(err, errEscape) != want.escape) {
				t.Errorf("%s, %q: %v", way, rel, err)
			}
		}
	}
}

func TestCopiesAreExactHoweverTheyAreMade(t *testing.T) {
	dir := openTest(t, t.TempDir())
	for i, size := range []int{0, 1, 70_000, 1 << 20} {
		data := []byte(strings.Repeat("0123456789", size/10+1)[:size])
		for name, copyFile := range map[string]func(dst, src int, size int64) error{
			"hand": copyByHand, "kernel": copier{}.copy, "probed": probeCopier(dir).copy,
		} {
			src, err := createFile(dir, "src", 0o600)
			if err != nil {
				t.Fatal(err)
			}
			dst, err := createFile(dir, "dst", 0o600)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(writeAll(src, data)); err != nil {
				t.Fatal(err)
			}
			if _, err := unix.Seek(src, 0, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			if err := copyFile(dst, src, int64(size)); err != nil {
				t.Errorf("%s, %d bytes: %v", name, size, err)
			}
			got, err := hashFile(context.Background(), digest.SHA256, dst)
			if err != nil || got != digest.Of(digest.SHA256, data) {
				t.Errorf("%s, %d bytes: another content, %v", name, size, err)
			}
			if _, err := unix.Seek(src, 0, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			if name != "probed" && copyFile(dst, src, int64(size)+1) == nil {
				t.Errorf("%s, case %d: a file that is too short was copied", name, i)
			}
			unix.Close(src)
			unix.Close(dst)
			for _, n := range []string{"src", "dst"} {
				if err := unix.Unlinkat(dir, n, 0); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func TestACacheEntryNeverOutweighsItsBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		evicted := map[int]int{}
		c := newLRU(100, func(k, _ int) { evicted[k]++ })
		costs := map[int]int64{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			k := rapid.IntRange(0, 20).Draw(t, "key")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				cost := rapid.Int64Range(0, 40).Draw(t, "cost")
				_, had := c.get(k)
				if added := c.add(k, k, cost); added != (!had && cost <= 25) {
					t.Fatalf("add of cost %d: %t", cost, added)
				} else if added {
					costs[k] = cost
				}
			case 2:
				c.remove(k, func(int) bool { return true })
			case 3:
				c.shrink(rapid.Int64Range(0, 100).Draw(t, "to"))
			}
			var sum int64
			for k := range c.entries {
				sum += costs[k]
			}
			if sum != c.total() || sum > 100 || len(c.entries) != c.order.Len() {
				t.Fatalf("cost %d, noted %d", sum, c.total())
			}
		}
	})
}

func TestAFileThatChangesBeforeItIsPublishedIsDropped(t *testing.T) {
	c, err := newFileCache(filepath.Join(t.TempDir(), "cache"), 16<<20, true, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	content := make([]byte, 100_000)
	d := digest.Of(digest.SHA256, content)
	for _, spoil := range []bool{false, true} {
		written := content
		if spoil {
			written = append([]byte{1}, content[1:]...)
			c.disk.shrink(0)
		}
		if err := c.add(d, func(fd int) error { return writeAll(fd, written) }); err != nil {
			t.Fatal(err)
		}
		c.publishing.Wait()
		if _, ok := c.disk.get(d); ok == spoil {
			t.Errorf("spoilt: %t, published: %t", spoil, ok)
		}
	}
	c.end()
}

func TestHugeOutputDirectoriesAreRefused(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fd := openTest(t, dir)
	for spare, ok := range map[int]bool{2: false, 3: true} {
		up := newUploader(treeBlobs{}, digest.SHA256, 1<<20)
		c := &collector{rootfd: fd, cmd: &command{}, up: up, result: &repb.ActionResult{}, entries: maxOutputEntries - spare}
		err := c.output(context.Background(), output{asGiven: "."})
		var failure *Failure
		if (err == nil) != ok || (!ok && !(errors.As(err, &failure) && failure.Code == code.Code_FAILED_PRECONDITION)) {
			t.Errorf("with room for %d entries: %v", spare, err)
		}
	}
}

func TestNotesAreBounded(t *testing.T) {
	var c collector
	for range 10 * maxNotes {
		c.note("x")
	}
	if len(c.notes) != maxNotes+1 {
		t.Errorf("%d notes", len(c.notes))
	}
}

func TestOldTrashIsLeftWhenTheWorkerEnds(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "old", "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := &remover{dirfd: openTest(t, dir), closing: make(chan struct{}), log: slog.Default()}
	close(r.closing)
	r.remove(doomed{r.dirfd, "old"}, r.closing)
	if _, err := os.Stat(filepath.Join(dir, "old", "d")); err != nil {
		t.Error(err)
	}
	r.remove(doomed{r.dirfd, "old"}, nil)
	if _, err := os.Stat(filepath.Join(dir, "old")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
