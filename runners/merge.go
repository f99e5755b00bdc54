package runners

import (
	"path"
	"strings"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// merge returns the tree of both, where what over has wins; they fit, see
// confinement. Directories that both have get digests of their own, which stand
// for no blob.
func merge(under, over *inputTree) *inputTree {
	m := &inputTree{dirs: map[digest.Digest]*directory{}, marked: under.marked || over.marked}
	for _, t := range []*inputTree{under, over} {
		for d, dir := range t.dirs {
			m.dirs[d] = dir
		}
	}
	m.root = m.union(under, under.root, over, over.root, "")
	return m
}

func (m *inputTree) union(ut *inputTree, u *directory, ot *inputTree, o *directory, at string) *directory {
	out := &directory{props: o.props, mark: o.mark}
	if o.mark == unmarked {
		out.mark = u.mark
	}
	if !o.props.hasMode && o.props.mtime.IsZero() {
		out.props = u.props
	}
	taken := map[string]bool{}
	for _, f := range o.files {
		taken[f.name] = true
	}
	for _, l := range o.links {
		taken[l.name] = true
	}
	out.files, out.links = append(out.files, o.files...), append(out.links, o.links...)
	for _, f := range u.files {
		if !taken[f.name] {
			out.files = append(out.files, f)
		}
	}
	for _, l := range u.links {
		if !taken[l.name] {
			out.links = append(out.links, l)
		}
	}
	inOver := map[string]dirNode{}
	for _, d := range o.dirs {
		inOver[d.name] = d
	}
	for _, d := range u.dirs {
		both, ok := inOver[d.name]
		if !ok {
			out.dirs = append(out.dirs, d)
			continue
		}
		delete(inOver, d.name)
		full := path.Join(at, d.name)
		key := digest.Of(both.digest.Function, []byte("merged directory "+full))
		m.dirs[key] = m.union(ut, ut.dirs[d.digest], ot, ot.dirs[both.digest], full)
		out.dirs = append(out.dirs, dirNode{name: d.name, digest: key})
	}
	for _, d := range o.dirs {
		if _, left := inOver[d.name]; left {
			out.dirs = append(out.dirs, d)
		}
	}
	return out
}

// isRootFS is RootFSMark for a tree that is not laid out yet; links are followed
// inside.
func (t *inputTree) isRootFS(program string) bool {
	if t.has("bin/sh") || t.has("usr/bin/env") {
		return true
	}
	return path.IsAbs(program) && t.has(program)
}

// has tells whether a path leads to a file, or to a symlink as its last component.
func (t *inputTree) has(name string) bool {
	const maxLinks, maxSteps = 16, 256
	at := []*directory{t.root}
	rest, links := strings.Split(name, "/"), 0
	for steps := 0; len(rest) > 0 && steps < maxSteps; steps++ {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = at[:max(1, len(at)-1)]
			continue
		}
		dir := at[len(at)-1]
		next, kind := t.lookup(dir, part)
		switch kind {
		case isDir:
			at = append(at, next)
			continue
		case isFile:
			return len(rest) == 0
		case isNothing:
			return false
		}
		if len(rest) == 0 {
			return true
		}
		if links++; links > maxLinks {
			return false
		}
		target := dir.link(part)
		if path.IsAbs(target) {
			at = at[:1]
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return false
}

func (d *directory) link(name string) string {
	for i := range d.links {
		if d.links[i].name == name {
			return d.links[i].target
		}
	}
	return ""
}

// diskBytes estimates what the tree takes on disk.
func (t *inputTree) diskBytes() int64 {
	return t.bytesBelow(t.root, map[*directory]int64{})
}

func (t *inputTree) bytesBelow(d *directory, known map[*directory]int64) int64 {
	if n, ok := known[d]; ok {
		return n
	}
	const block = 4096
	n := int64(block)
	for i := range d.files {
		n += (d.files[i].digest.Size + block - 1) / block * block
	}
	for i := range d.dirs {
		n += t.bytesBelow(t.dirs[d.dirs[i].digest], known)
	}
	known[d] = n
	return n
}
