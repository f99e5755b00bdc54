package client

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// files makes a local tree: a name ending in / is a directory, content beginning
// with "-> " a link, with "#!" an executable file.
func files(t *testing.T, dir string, tree map[string]string) string {
	t.Helper()
	for name, content := range tree {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o777)
		if target, link := strings.CutPrefix(content, "-> "); err == nil && link {
			err = os.Symlink(target, path)
		} else if err == nil && strings.HasSuffix(name, "/") {
			err = os.MkdirAll(path, 0o777)
		} else if err == nil {
			mode := os.FileMode(0o666)
			if strings.HasPrefix(content, "#!") {
				mode = 0o777
			}
			err = os.WriteFile(path, []byte(content), mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// look returns what is at dir in the form that files takes.
func look(t *testing.T, dir string) map[string]string {
	t.Helper()
	tree := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch {
		case d.IsDir():
			tree[name+"/"] = ""
		case d.Type()&os.ModeSymlink != 0:
			target, err := os.Readlink(path)
			tree[name] = "-> " + target
			return err
		default:
			data, err := os.ReadFile(path)
			tree[name] = string(data)
			if info, _ := d.Info(); (info.Mode()&0o100 != 0) != strings.HasPrefix(string(data), "#!") {
				t.Errorf("%s has mode %s", name, info.Mode())
			}
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

var sample = map[string]string{
	"b.txt": "b", "a.txt": "a", "a-copy": "a", "empty": "", "dir/": "", "src/run": "#!/bin/sh\n", "src/deep/er/x": "x",
	"link": "-> a.txt", "src/up": "-> ../b.txt", "dangling": "-> nowhere", "abs": "-> /etc/hosts", "src/dirlink": "-> deep",
}

func TestATreeIsCanonical(t *testing.T) {
	tree, err := ReadDir(t.Context(), digest.SHA256, files(t, t.TempDir(), sample))
	if err != nil {
		t.Fatal(err)
	}
	if tree.Files != 6 || tree.Symlinks != 5 || tree.Directories != 5 {
		t.Errorf("counted %d files, %d links, %d directories", tree.Files, tree.Symlinks, tree.Directories)
	}
	for _, s := range tree.Sources {
		if s.Path != "" {
			continue
		}
		dir := &repb.Directory{}
		if err := proto.Unmarshal(s.Data, dir); err != nil {
			t.Fatal(err)
		}
		if !slices.IsSortedFunc(dir.Files, func(a, b *repb.FileNode) int { return strings.Compare(a.Name, b.Name) }) ||
			!slices.IsSortedFunc(dir.Directories, func(a, b *repb.DirectoryNode) int { return strings.Compare(a.Name, b.Name) }) ||
			!slices.IsSortedFunc(dir.Symlinks, func(a, b *repb.SymlinkNode) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("not sorted: %v", dir)
		}
	}
}

// The order in which inputs are named does not change the action.
func TestTheOrderOfInputsMeansNothing(t *testing.T) {
	dir := files(t, t.TempDir(), sample)
	rapid.Check(t, func(rt *rapid.T) {
		paths := rapid.Permutation([]string{"src", "a.txt", "b.txt", "link", "src/deep", "dir", "./a.txt"}).Draw(rt, "paths")
		tree, err := ReadInputs(t.Context(), digest.SHA256, dir, paths, "work/here")
		if err != nil {
			rt.Fatal(err)
		}
		const want = "27a6f0151988"
		if have := tree.Root.Hex()[:12]; have != want {
			rt.Fatalf("%v gives %s, want %s", paths, have, want)
		}
	})
}

func TestInputsThatCannotBeMeant(t *testing.T) {
	dir := files(t, t.TempDir(), map[string]string{"f": "x", "sub/g": "y", "bad\xff": "z", "badlink": "-> \xff"})
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, working, want string }{
		{"nosuch", "", "input nosuch: no such file or directory"},
		{"../f", "", "outside of"},
		{"/etc/hosts", "", "outside of"},
		{"pipe", "", "neither a file nor a directory nor a symbolic link"},
		{"bad\xff", "", "not UTF-8"},
		{"badlink", "", "its target is not UTF-8"},
		{"f", "f/x", "another input that is no directory"},
	} {
		_, err := ReadInputs(t.Context(), digest.SHA256, dir, []string{c.path}, c.working)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q in %q: %v, want %q", c.path, c.working, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ReadInputs(ctx, digest.SHA256, dir, []string{"sub"}, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled build of a tree: %v", err)
	}
}
