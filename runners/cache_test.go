package runners_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/hosttools"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// eager keeps files from their first use on.
func eager(o *runners.WorkerOptions) { o.CacheEagerly = true }

// rootOf makes an input root with one file of 200 KB.
func (b *bench) rootOf(seed int) (root, file digest.Digest) {
	f := b.file("f", strings.Repeat(fmt.Sprintf("%09d\n", seed), 20_000))
	d, err := digest.FromProto(digest.SHA256, f.Digest)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.message(&repb.Directory{Files: []*repb.FileNode{f}}), d
}

// cached waits until the file is in the cache: it is then laid out while the store
// does not have it.
func (b *bench) cached(root, file digest.Digest) {
	b.t.Helper()
	content, _ := b.blobs.get(file)
	defer b.blobs.put(content)
	b.blobs.drop(file)
	for range 2000 {
		if c := b.run(b.lease(sh("cksum <f"), root)); c.Status == nil {
			return
		}
	}
	b.t.Fatal("the file never came into the cache")
}

func TestFilesThatAreUsedAgainComeFromTheCache(t *testing.T) {
	b := start(t, eager)
	root, file := b.rootOf(1)
	b.result(sh("exit 0"), root)
	b.cached(root, file)
	b = start(t, nil)
	root, file = b.rootOf(1)
	b.result(sh("exit 0"), root)
	if left, err := os.ReadDir(filepath.Join(b.dir, "cache")); err != nil || len(left) != 0 {
		t.Errorf("a file that was used once is kept: %v, %v", left, err)
	}
	b.result(sh("exit 0"), root)
	b.cached(root, file)
}

// TestNoActionCorruptsTheCache tries, by paths that no action should know, all
// that its user may do; this process's user, who may be root.
func TestNoActionCorruptsTheCache(t *testing.T) {
	b := start(t, eager)
	for i, attack := range []string{
		"echo evil >f", "chmod 777 f; echo evil >>f", // its own copy
		"for c in ../../cache/*; do chmod 600 $c; printf evil | dd of=$c conv=notrunc; done 2>/dev/null",
		"for c in ../../cache/*; do chmod 600 $c; m=$(stat -c @%.Y $c); printf evil | dd of=$c conv=notrunc; touch -d $m $c; chmod 400 $c; done 2>/dev/null",
		"for c in ../../cache/*; do cp $c x; rm -f $c; printf evil | dd of=x conv=notrunc; mv x $c; done 2>/dev/null",
		"for c in ../../cache/*; do ln $c hard; chmod 600 hard; printf evil | dd of=hard conv=notrunc; rm hard; done 2>/dev/null",
		"for c in ../../cache/*; do rm -f $c; ln -s /etc/passwd $c; done", "rm -f ../../cache/*", "for c in ../../cache/*; do rm -f $c; mkdir $c; done",
		"for c in ../../cache/*; do rm -f $c; mkfifo $c; done", "for c in ../../cache/*; do chmod 600 $c; : >$c; done",
	} {
		root, file := b.rootOf(100 + i)
		want := b.text(b.result(sh("cksum <f"), root).StdoutDigest)
		b.cached(root, file)
		b.result(sh(attack+"; true"), root)
		for range 2 {
			if got := b.text(b.result(sh("cksum <f"), root).StdoutDigest); got != want {
				t.Errorf("after %s: the next action reads %q, want %q", attack, got, want)
			}
		}
	}
	// At the very moment that the file comes into the cache, too.
	for i := range 8 {
		root, _ := b.rootOf(1000 + i)
		b.result(sh("for c in ../../cache/*; do chmod 600 $c; printf evil | dd of=$c conv=notrunc; chmod 400 $c; done 2>/dev/null; true"), root)
		if got := b.text(b.result(sh("head -c 10 f"), root).StdoutDigest); got != fmt.Sprintf("%09d\n", 1000+i) {
			t.Fatalf("round %d: the next action reads %q", i, got)
		}
	}
}

func TestTheCacheKeepsToItsSize(t *testing.T) {
	const limit = 2 << 20
	b := start(t, func(o *runners.WorkerOptions) { o.CacheEagerly, o.CacheBytes = true, limit })
	var root, file digest.Digest
	for i := range 30 {
		root, file = b.rootOf(i)
		b.result(sh("exit 0"), root)
	}
	b.cached(root, file) // the last one is in, and so what came before is, or is out again
	var size int64
	err := filepath.WalkDir(filepath.Join(b.dir, "cache"), func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	const beingPublished = 400_000 // two files at the most, since two actions run at once
	if err != nil || size > limit+beingPublished || size == 0 {
		t.Errorf("%d bytes are kept, at most %d may be: %v", size, limit, err)
	}
}

// TestATornCacheIsNeverServed starts where a worker was killed in the middle of
// writing.
func TestATornCacheIsNeverServed(t *testing.T) {
	dir := t.TempDir()
	d := digest.Of(digest.SHA256, []byte(strings.Repeat(fmt.Sprintf("%09d\n", 7), 20_000)))
	for _, path := range []string{"cache/" + d.Hex(), "roots/1/left", "output/1.stdout", "trash/old/x"} {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, make([]byte, d.Size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := start(t, func(o *runners.WorkerOptions) { o.Dir, o.CacheEagerly = dir, true })
	root, file := b.rootOf(7)
	if file != d {
		t.Fatal("not the file that was torn")
	}
	r := b.result(sh("head -c 10 f; ls"), root)
	if got := b.text(r.StdoutDigest); got != "000000007\nf\n" {
		t.Errorf("the action read %q", got)
	}
}

func TestADirectoryHasOneWorkerAtATime(t *testing.T) {
	b := start(t, nil)
	if _, err := runners.NewWorker(b.options); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second worker: %v", err)
	}
	// It would kill what the first one runs.
	if _, err := hosttools.New(hosttools.Options{Dir: b.dir}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second runner: %v", err)
	}
	close(b.session.events)
	<-b.stopped
	w, err := runners.NewWorker(b.options)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestSmallFilesStayInMemory(t *testing.T) {
	b := start(t, nil)
	root := b.message(&repb.Directory{Files: []*repb.FileNode{b.file("f", "small")}})
	b.result(sh("echo evil >f"), root)
	b.blobs.drop(digest.Of(digest.SHA256, []byte("small")))
	if got := b.text(b.result(sh("cat f"), root).StdoutDigest); got != "small" {
		t.Errorf("the next action reads %q", got)
	}
}
