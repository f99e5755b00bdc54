package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Tree is a directory tree that is hashed and ready to upload.
type Tree struct {
	Root    digest.Digest // of the root Directory
	Sources []Source      // every Directory, in memory, and every file, by its path

	Files, Directories, Symlinks int
	Bytes                        int64 // content of the files; equal files count each time
}

// TreeBuilder collects local files into an input root. Its memory grows with the
// number of names, about 300 bytes each, not with their content. It is not safe
// for concurrent use.
type TreeBuilder struct {
	fn   digest.Function
	root *dirNode
	todo []*fileNode // not hashed yet

	symlinks int
}

type dirNode struct {
	dirs  map[string]*dirNode
	files map[string]*fileNode
	links map[string]string // target by name
}

type fileNode struct {
	source     Source
	executable bool
}

// NewTreeBuilder returns a builder of an empty tree.
func NewTreeBuilder(fn digest.Function) *TreeBuilder {
	return &TreeBuilder{fn: fn, root: newDirNode()}
}

func newDirNode() *dirNode {
	return &dirNode{dirs: map[string]*dirNode{}, files: map[string]*fileNode{}, links: map[string]string{}}
}

// Add takes the local file, symbolic link or directory (with all beneath it) into
// the tree under the slash-separated relative path as; "." is the root. Symbolic
// links stay links. Sockets, devices and pipes are errors.
func (b *TreeBuilder) Add(local, as string) error {
	info, err := os.Lstat(local)
	if err != nil {
		return err
	}
	as = path.Clean(as)
	if as == "." {
		if info.Mode()&os.ModeSymlink != 0 {
			if info, err = os.Stat(local); err != nil {
				return err
			}
		}
		if !info.IsDir() {
			return fmt.Errorf("add %s: not a directory", local)
		}
		return b.addDir(local, b.root)
	}
	if path.IsAbs(as) || as == ".." || strings.HasPrefix(as, "../") {
		return fmt.Errorf("add %s: %s is outside of the input root", local, as)
	}
	parent, name := path.Split(as)
	dir := b.root
	for _, segment := range strings.FieldsFunc(parent, func(r rune) bool { return r == '/' }) {
		if dir, err = dir.child(segment); err != nil {
			return fmt.Errorf("add %s: %w", local, err)
		}
	}
	return b.addEntry(local, name, info.Mode(), dir)
}

// AddDirectory makes sure that the directory at the relative path as exists.
func (b *TreeBuilder) AddDirectory(as string) (err error) {
	dir := b.root
	for _, segment := range strings.Split(path.Clean(as), "/") {
		if segment == "." {
			continue
		}
		if dir, err = dir.child(segment); err != nil {
			return fmt.Errorf("add directory %s: %w", as, err)
		}
	}
	return nil
}

func (b *TreeBuilder) addDir(local string, dir *dirNode) error {
	entries, err := os.ReadDir(local)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := b.addEntry(filepath.Join(local, e.Name()), e.Name(), e.Type(), dir); err != nil {
			return err
		}
	}
	return nil
}

func (b *TreeBuilder) addEntry(local, name string, mode os.FileMode, dir *dirNode) error {
	if !utf8.ValidString(name) {
		return fmt.Errorf("add %q: the name is not UTF-8, which the Remote Execution API cannot carry", local)
	}
	switch {
	case mode.IsDir():
		child, err := dir.child(name)
		if err != nil {
			return fmt.Errorf("add %s: %w", local, err)
		}
		return b.addDir(local, child)
	case mode&os.ModeSymlink != 0:
		target, err := os.Readlink(local)
		if err != nil {
			return err
		}
		if !utf8.ValidString(target) {
			return fmt.Errorf("add %q: its target is not UTF-8, which the Remote Execution API cannot carry", local)
		}
		if dir.has(name) && dir.links[name] != target {
			return fmt.Errorf("add %s: another input has this name", local)
		}
		dir.links[name] = filepath.ToSlash(target)
		b.symlinks++
		return nil
	case mode.IsRegular():
		return b.addFile(local, name, dir)
	}
	return fmt.Errorf("add %s: neither a file nor a directory nor a symbolic link", local)
}

func (b *TreeBuilder) addFile(local, name string, dir *dirNode) error {
	if old := dir.files[name]; old != nil && old.source.Path == local {
		return nil
	}
	if dir.has(name) {
		return fmt.Errorf("add %s: another input has this name", local)
	}
	info, err := os.Stat(local)
	if err != nil {
		return err
	}
	f := &fileNode{source: Source{Path: local}, executable: info.Mode()&0o111 != 0}
	dir.files[name] = f
	b.todo = append(b.todo, f)
	return nil
}

var errNotDirectory = errors.New("a part of its path is another input that is no directory")

func (d *dirNode) child(name string) (*dirNode, error) {
	if c := d.dirs[name]; c != nil {
		return c, nil
	}
	if d.has(name) {
		return nil, errNotDirectory
	}
	c := newDirNode()
	d.dirs[name] = c
	return c, nil
}

func (d *dirNode) has(name string) bool {
	_, link := d.links[name]
	return link || d.files[name] != nil || d.dirs[name] != nil
}

// Build hashes the files, as many at a time as there are cores, and folds the
// directories.
func (b *TreeBuilder) Build(parent context.Context) (*Tree, error) {
	group, ctx := errgroup.WithContext(parent)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, f := range b.todo {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() (err error) {
			f.source, err = FileSource(b.fn, f.source.Path)
			return err
		})
	}
	err := group.Wait()
	if err == nil {
		err = parent.Err() // some may not have begun
	}
	if err != nil {
		return nil, err
	}
	t := &Tree{Symlinks: b.symlinks}
	for _, f := range b.todo {
		t.Files++
		t.Bytes += f.source.Digest.Size
		t.Sources = append(t.Sources, f.source)
	}
	t.Root, err = t.fold(b.fn, b.root)
	return t, err
}

// ReadDir hashes the local directory dir.
func ReadDir(ctx context.Context, fn digest.Function, dir string) (*Tree, error) {
	b := NewTreeBuilder(fn)
	if err := b.Add(dir, "."); err != nil {
		return nil, err
	}
	return b.Build(ctx)
}

func isDir(local string) (bool, error) {
	info, err := os.Stat(local)
	switch {
	case err != nil:
		return false, err
	case !info.IsDir() && !info.Mode().IsRegular():
		return false, fmt.Errorf("read %s: neither a file nor a directory", local)
	}
	return info.IsDir(), nil
}
