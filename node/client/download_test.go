package client

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

func TestATreeComesBackAsItWas(t *testing.T) {
	for name, f := range map[string]*fake{
		"whole": {caps: capsWith(0)},
		"pages": {caps: capsWith(0), pageSize: 2, fault: breakOnce("GetTreePage", 2)},
		"bare":  {noBatch: true, noTree: true},
		"small": {caps: capsWith(1100)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := serve(t, f, Options{})
				tree, err := ReadDir(t.Context(), digest.SHA256, files(t, t.TempDir(), sample))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Upload(t.Context(), tree.Sources, nil); err != nil {
					t.Fatal(err)
				}
				back := files(t, t.TempDir(), map[string]string{"src": "in the way", "b.txt": "old", "a.txt": "-> b.txt", "stays": "s"})
				p := &Progress{}
				if _, err := c.DownloadTree(t.Context(), tree.Root, back, p); err != nil {
					t.Fatal(err)
				}
				want := map[string]string{"stays": "s", "src/": "", "src/deep/": "", "src/deep/er/": ""}
				for name, content := range sample {
					want[name] = content
				}
				if diff := cmp.Diff(want, look(t, back)); diff != "" {
					t.Error(diff)
				}
				if s := p.State(); s.Blobs != s.AllBlobs || s.Bytes != s.AllBytes {
					t.Errorf("progress ends at %+v", s)
				}
			})
		})
	}
}

// breakOnce returns a fault for the n-th call of method.
func breakOnce(method string, n int) func(string, int) error {
	return func(called string, count int) error {
		if called == method && count == n {
			return errAway
		}
		return nil
	}
}

func TestDownloadGoesOnWhereItBroke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{caps: capsWith(0), cutReads: []int64{5 << 20, 1 << 20}}
		c := serve(t, f, Options{})
		data := noise(9<<20, 1)
		var have bytes.Buffer
		if err := c.Fetch(t.Context(), f.put(data), &have); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(have.Bytes(), data) {
			t.Error("other content")
		}
		if diff := cmp.Diff([]int64{0, 5 << 20, 6 << 20}, f.starts); diff != "" {
			t.Error(diff)
		}
	})
}

func TestContentThatIsNotTheDigestsIsRefused(t *testing.T) {
	flip := func(data []byte) []byte { data[len(data)/2] ^= 1; return data }
	for name, tamper := range map[string]func([]byte) []byte{
		"flipped": flip,
		"longer":  func(data []byte) []byte { return append(data, 'x') },
		"shorter": func(data []byte) []byte { return data[:len(data)/2] },
		"empty":   func([]byte) []byte { return nil },
	} {
		for _, size := range []int{1000, 5<<20 + 1} {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{caps: capsWith(0)}
				c := serve(t, f, Options{})
				d := f.put(noise(size, 1))
				root := f.putMessage(t, &repb.Directory{Files: []*repb.FileNode{{Name: "f", Digest: d.Proto()}}})
				f.tamper = func(asked digest.Digest, data []byte) []byte {
					if asked == d {
						return tamper(data)
					}
					return data
				}
				dir := t.TempDir()
				_, err := c.DownloadTree(t.Context(), root, dir, nil)
				if !errors.Is(err, ErrCorrupt) && !(name == "shorter" && status.Code(err) == codes.OutOfRange) {
					t.Errorf("%s, %d bytes: %v, want ErrCorrupt", name, size, err)
				}
				if left := look(t, dir); len(left) > 0 {
					t.Errorf("%s, %d bytes: left %d files", name, size, len(left))
				}
			})
		}
	}
}

func TestMissingBlobsAreNotFound(t *testing.T) {
	f := &fake{caps: capsWith(0)}
	c := serve(t, f, Options{})
	for _, size := range []int{10, 5 << 20} {
		gone := digest.Of(digest.SHA256, noise(size, 1))
		root := f.putMessage(t, &repb.Directory{Files: []*repb.FileNode{{Name: "f", Digest: gone.Proto()}}})
		if _, err := c.DownloadTree(t.Context(), root, t.TempDir(), nil); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), gone.String()) {
			t.Errorf("file: %v", err)
		}
		if _, err := c.DownloadTree(t.Context(), gone, t.TempDir(), nil); !errors.Is(err, ErrNotFound) {
			t.Errorf("root: %v", err)
		}
	}
}

// A tree that no honest client makes must not reach the disk at all.
func TestHostileTreesAreRefusedBeforeAnythingIsWritten(t *testing.T) {
	f := &fake{caps: capsWith(0)}
	c := serve(t, f, Options{})
	d := f.put([]byte("x")).Proto()
	file := func(names ...string) *repb.Directory {
		dir := &repb.Directory{}
		for _, n := range names {
			dir.Files = append(dir.Files, &repb.FileNode{Name: n, Digest: d})
		}
		return dir
	}
	empty := f.putMessage(t, &repb.Directory{}).Proto()
	for name, dir := range map[string]*repb.Directory{
		"up":           file("good", ".."),
		"itself":       file("."),
		"slash":        file("good", "../evil"),
		"absolute":     file("/tmp/evil"),
		"nameless":     file(""),
		"zero byte":    file("a\x00b"),
		"twice":        file("a", "a"),
		"digest":       {Files: []*repb.FileNode{{Name: "f", Digest: &repb.Digest{Hash: "xyz", SizeBytes: 1}}}},
		"no digest":    {Directories: []*repb.DirectoryNode{{Name: "d"}}},
		"up dir":       {Directories: []*repb.DirectoryNode{{Name: "..", Digest: empty}}},
		"empty link":   {Symlinks: []*repb.SymlinkNode{{Name: "l"}}},
		"link and dir": {Directories: []*repb.DirectoryNode{{Name: "l", Digest: empty}}, Symlinks: []*repb.SymlinkNode{{Name: "l", Target: "/etc"}}},
		"long":         file(strings.Repeat("x", maxPath+1)),
	} {
		nested := &repb.Directory{Files: file("first").Files, Directories: []*repb.DirectoryNode{{Name: "d", Digest: f.putMessage(t, dir).Proto()}}}
		target := t.TempDir()
		_, err := c.DownloadTree(t.Context(), f.putMessage(t, nested), target, nil)
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
		if left := look(t, target); len(left) > 0 {
			t.Errorf("%s: wrote %v", name, left)
		}
	}
	if _, err := c.DownloadTree(t.Context(), f.put([]byte("int main(){}\n")), t.TempDir(), nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("a file as a directory: %v", err)
	}
}

// Shared subtrees can name an astronomic number of paths in a few messages.
func TestATreeBombIsRefused(t *testing.T) {
	f := &fake{caps: capsWith(0)}
	c := serve(t, f, Options{})
	d := f.putMessage(t, &repb.Directory{})
	for range 40 {
		d = f.putMessage(t, &repb.Directory{Directories: []*repb.DirectoryNode{{Name: "a", Digest: d.Proto()}, {Name: "b", Digest: d.Proto()}}})
	}
	if _, err := c.DownloadTree(t.Context(), d, t.TempDir(), nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("have %v", err)
	}
}

// Links in the target, left by an earlier tree perhaps, are never followed out of it.
func TestNothingIsWrittenThroughALink(t *testing.T) {
	f := &fake{caps: capsWith(0)}
	c := serve(t, f, Options{})
	outside := t.TempDir()
	for _, size := range []int{3, 5 << 20} {
		d := f.put(noise(size, 3))
		sub := f.putMessage(t, &repb.Directory{Files: []*repb.FileNode{{Name: "f", Digest: d.Proto()}, {Name: "g", Digest: d.Proto()}}})
		root := f.putMessage(t, &repb.Directory{
			Directories: []*repb.DirectoryNode{{Name: "dir", Digest: sub.Proto()}},
			Files:       []*repb.FileNode{{Name: "file", Digest: d.Proto()}},
		})
		target := files(t, t.TempDir(), map[string]string{"dir": "-> " + outside, "file": "-> " + outside + "/file"})
		if _, err := c.DownloadTree(t.Context(), root, target, nil); err != nil {
			t.Fatal(err)
		}
		if have := look(t, target); have["dir/f"] != string(noise(size, 3)) || have["file"] != have["dir/f"] {
			t.Error("the tree is not as it should be")
		}
		// The way to an output is the caller's: a link in it is followed, not out of the target.
		target = files(t, t.TempDir(), map[string]string{"dir": "-> " + outside})
		_, err := c.DownloadOutputs(t.Context(), &repb.ActionResult{OutputFiles: []*repb.OutputFile{{Path: "dir/f", Digest: d.Proto()}}},
			target, "", []string{"dir/f"}, nil)
		if err == nil {
			t.Error("an output was written through a link that leads out")
		}
	}
	if left := look(t, outside); len(left) > 0 {
		t.Errorf("wrote outside: %d files", len(left))
	}
}

func TestNodePropertiesAreKept(t *testing.T) {
	f := &fake{caps: capsWith(0)}
	c := serve(t, f, Options{})
	d := f.put(noise(5<<20, 1))
	root := f.putMessage(t, &repb.Directory{Files: []*repb.FileNode{
		{Name: "a", Digest: d.Proto(), NodeProperties: &repb.NodeProperties{UnixMode: wrapperspb.UInt32(0o4200)}},
		{Name: "b", Digest: d.Proto(), IsExecutable: true},
	}})
	dir := t.TempDir()
	if _, err := c.DownloadTree(t.Context(), root, dir, nil); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "a"))
	if err != nil || info.Mode() != 0o200 {
		t.Errorf("mode %v, %v; want the permission bits without set-id", info.Mode(), err)
	}
	if info, err := os.Stat(filepath.Join(dir, "b")); err != nil || info.Size() != d.Size || info.Mode()&0o100 == 0 {
		t.Errorf("the copy: %v", err)
	}
}
