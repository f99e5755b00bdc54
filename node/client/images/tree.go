package images

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// tree is the model of an image's file system while its layers are applied, lowest
// first. Paths are resolved in it as in a running container: links are followed
// within its root, and never on the host.
type tree struct {
	root  *node
	nodes int // made so far
}

// node is one name.
type node struct {
	kind     kind // dirKind, fileKind, linkKind or otherKind
	layer    int  // that made the name
	perm     fs.FileMode
	children map[string]*node // of a directory
	content  *content         // of a file
	target   string           // of a symbolic link
	what     string           // of otherKind
}

// content is a file's content; its hard links share it.
type content struct {
	layer, index int // where it is
	size         int64
	perm         fs.FileMode
	digest       digest.Digest // zero when it was not asked for
}

// What bounds the walk through the tree.
const (
	maxHops  = 40   // symbolic links on one path, as Linux has it
	maxDepth = 2048 // directories on one path
)

// Permissions of directories that no layer describes.
const defaultPerm fs.FileMode = 0o755

func newTree() *tree {
	return &tree{root: &node{kind: dirKind, perm: defaultPerm, children: map[string]*node{}}}
}

// errNoDir means that a path leads through what is no directory.
var errNoDir = errors.New("a part of its path is no directory")

// apply carries out one entry of a layer, counted from the lowest.
func (t *tree) apply(layer int, e *entry) error {
	dir, base := path.Split(e.path)
	switch {
	case e.kind == opaqueKind:
		return t.hide(e.path, layer)
	case e.kind == whiteoutKind:
		return t.hide(dir, layer, base)
	case e.path == ".":
		t.root.perm = e.perm
		return nil
	}
	parent, err := t.walk(dir, layer, true)
	if err != nil {
		return malformed("%q: %w", e.path, err)
	}
	old := parent.children[base]
	if e.kind == dirKind && old != nil && old.kind == dirKind {
		old.perm, old.layer = e.perm, layer
		return nil
	}
	made := &node{kind: e.kind, layer: layer, perm: e.perm}
	switch e.kind {
	case dirKind:
		made.children = map[string]*node{}
	case fileKind:
		made.content = &content{layer: layer, index: e.index, size: e.size, perm: e.perm, digest: e.digest}
	case linkKind:
		made.target = e.target
	case otherKind:
		made.what = e.what
	case hardKind:
		if made, err = t.linked(layer, e); err != nil {
			return err
		}
	}
	return t.put(parent, base, made)
}

// put gives a node its name; what had the name before is gone.
func (t *tree) put(parent *node, name string, n *node) error {
	if t.nodes++; t.nodes > maxEntries {
		return malformed("more than %d entries", maxEntries)
	}
	parent.children[name] = n
	return nil
}

// linked returns another name for the file that a hard link leads to, which may be
// of a lower layer.
func (t *tree) linked(layer int, e *entry) (*node, error) {
	dir, base := path.Split(e.target)
	parent, err := t.walk(dir, layer, false)
	if err != nil {
		return nil, malformed("hard link %q: %q: %w", e.path, e.target, err)
	}
	var to *node
	if parent != nil {
		to = parent.children[base]
	}
	if to == nil {
		return nil, malformed("the hard link %q leads to %q, which is not in the image", e.path, e.target)
	}
	if to.kind == dirKind {
		return nil, malformed("the hard link %q leads to the directory %q", e.path, e.target)
	}
	shared := *to
	shared.layer = layer
	return &shared, nil
}

// walk returns the directory at path, by symbolic links too, which are resolved
// within the root. What is missing is made, or the answer is nil.
func (t *tree) walk(path string, layer int, create bool) (*node, error) {
	at := []*node{t.root}
	for hops := 0; path != ""; {
		var name string
		name, path, _ = strings.Cut(path, "/")
		if name == "" || name == "." {
			continue
		}
		if name == ".." {
			at = at[:max(len(at)-1, 1)]
			continue
		}
		dir := at[len(at)-1]
		child := dir.children[name]
		if child == nil {
			if !create {
				return nil, nil
			}
			child = &node{kind: dirKind, layer: layer, perm: defaultPerm, children: map[string]*node{}}
			if err := t.put(dir, name, child); err != nil {
				return nil, err
			}
		}
		switch child.kind {
		case dirKind:
			if at = append(at, child); len(at) > maxDepth {
				return nil, fmt.Errorf("more than %d directories deep", maxDepth)
			}
		case linkKind:
			if hops++; hops > maxHops {
				return nil, fmt.Errorf("more than %d symbolic links on its path", maxHops)
			}
			if strings.HasPrefix(child.target, "/") {
				at = at[:1]
			}
			path = child.target + "/" + path
		default:
			return nil, errNoDir
		}
	}
	return at[len(at)-1], nil
}

// hide removes what lower layers have of the names in the directory dir, or of all
// when none are given. What the same layer brings stays, before and after.
func (t *tree) hide(dir string, layer int, names ...string) error {
	parent, err := t.walk(dir, layer, false)
	switch {
	case errors.Is(err, errNoDir) || err == nil && parent == nil:
		return nil // there is nothing to hide
	case err != nil:
		return malformed("whiteout in %q: %w", dir, err)
	}
	if len(names) == 0 {
		for name := range parent.children {
			names = append(names, name)
		}
	}
	for _, name := range names {
		prune(parent, name, layer)
	}
	return nil
}

// prune removes what is older than layer from the node called name.
func prune(parent *node, name string, layer int) {
	n := parent.children[name]
	if n == nil {
		return
	}
	for child := range n.children {
		prune(n, child, layer)
	}
	if n.layer < layer && len(n.children) == 0 {
		delete(parent.children, name)
	}
}
