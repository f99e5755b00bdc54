package runners

import (
	"path"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
)

// readOnlyProperty is the node property of a Directory by which BuildStream and
// buildbox say whether a command may change what is in it, at any depth: "true"
// that it may not, everything else that it may. The innermost directory that has
// the property decides.
const readOnlyProperty = "SubtreeReadOnly"

// maxSubtrees bounds how often an input root turns from writable to read-only or
// back: each time costs a mount, and n mounts cost the square of n. BuildStream
// needs some ten.
const maxSubtrees = 100

// Subtree is a directory of an input root in which other rules begin.
type Subtree struct {
	Path     string // clean, relative to the root, "" for itself; no component is a symlink
	ReadOnly bool   // of all below, as far as no other Subtree is nearer
}

// mark is what a directory says of itself.
type mark int8

const (
	unmarked mark = iota
	markedReadOnly
	markedWritable
)

// markOf reads a directory's properties. Of several the last one counts.
func markOf(p *repb.NodeProperties) mark {
	m := unmarked
	for _, property := range p.GetProperties() {
		if property.GetName() != readOnlyProperty {
			continue
		}
		m = markedWritable
		if property.GetValue() == "true" {
			m = markedReadOnly
		}
	}
	return m
}

// within tells whether a directory is read-only whose parent is, or not.
func (m mark) within(readOnly bool) bool {
	if m == unmarked {
		return readOnly
	}
	return m == markedReadOnly
}

// withoutWrite takes the right to write from a file or directory that otherwise
// has this mode.
func (p props) withoutWrite(mode uint32) props {
	const write = 0o222
	if !p.hasMode {
		p.mode, p.hasMode = mode, true
	}
	p.mode &^= write
	return p
}

// subtrees lists where the tree turns read-only or writable, outer ones before
// inner ones; the root is writable unless it is in the list. Marks that change
// nothing are not in it. More than maxSubtrees are INVALID_ARGUMENT.
func (t *inputTree) subtrees() ([]Subtree, error) {
	if !t.marked {
		return nil, nil
	}
	w := subtreeWalk{tree: t, known: map[subtreeState]bool{}}
	err := w.walk(t.root, "", false)
	return w.found, err
}

type subtreeWalk struct {
	tree  *inputTree
	found []Subtree
	known map[subtreeState]bool
}

// subtreeState is a directory as it may be found at many paths.
type subtreeState struct {
	dir      *directory
	readOnly bool
}

func (w *subtreeWalk) walk(dir *directory, at string, inherited bool) error {
	readOnly := dir.mark.within(inherited)
	if readOnly != inherited {
		if len(w.found) == maxSubtrees {
			return Invalid("the node property %s makes more than %d directories of the input root read-only, or writable again: %d are allowed, and what is below one of them need not be marked", readOnlyProperty, maxSubtrees, maxSubtrees)
		}
		w.found = append(w.found, Subtree{Path: at, ReadOnly: readOnly})
	}
	if !w.turnsBelow(dir, readOnly) {
		return nil
	}
	for i := range dir.dirs {
		if err := w.walk(w.tree.dirs[dir.dirs[i].digest], path.Join(at, dir.dirs[i].name), readOnly); err != nil {
			return err
		}
	}
	return nil
}

// turnsBelow tells whether there is anything to find below a directory, so that no
// path is walked in vain.
func (w *subtreeWalk) turnsBelow(dir *directory, readOnly bool) bool {
	state := subtreeState{dir, readOnly}
	turns, known := w.known[state]
	if known {
		return turns
	}
	for i := range dir.dirs {
		sub := w.tree.dirs[dir.dirs[i].digest]
		if sub.mark.within(readOnly) != readOnly || w.turnsBelow(sub, readOnly) {
			turns = true
			break
		}
	}
	w.known[state] = turns
	return turns
}

// withoutWrite returns the file as one that nobody may write.
func (f *fileNode) withoutWrite() *fileNode {
	mode := uint32(modeFile)
	if f.executable {
		mode = modeExec
	}
	g := *f
	g.props = g.props.withoutWrite(mode)
	return &g
}
