package userchroot

import (
	"path"
	"slices"

	"github.com/bgrid-node/bgrid-node/runners"
)

// rules tells of some directories whether they are read-only; the nearest one at or
// above a path decides.
type rules map[string]bool

func (r rules) readOnly(dir string) bool {
	for {
		if readOnly, ok := r[dir]; ok || dir == "" {
			return readOnly
		}
		dir = parentOf(dir)
	}
}

func parentOf(dir string) string {
	if dir = path.Dir(dir); dir == "." {
		return ""
	}
	return dir
}

// protection returns whether the root is read-only, and where that changes below
// it, outer directories before inner ones. What a command may change is what
// neither the runner nor a mark of the trees forbids. It is a pure function.
func protection(l *runners.Layers, marks []runners.Subtree) (readOnly bool, changes []runners.Subtree) {
	chroot, marked := rules{"": true}, rules{}
	for _, dir := range l.Fixed {
		chroot[dir] = true
	}
	for _, dir := range l.Writable {
		chroot[dir] = false
	}
	for _, t := range marks {
		marked[t.Path] = t.ReadOnly
	}
	var dirs []string
	for _, r := range []rules{chroot, marked} {
		for dir := range r {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs) // a prefix comes first
	state := func(dir string) bool { return chroot.readOnly(dir) || marked.readOnly(dir) }
	for _, dir := range slices.Compact(dirs) {
		if dir == "" {
			continue
		}
		if now := state(dir); now != state(parentOf(dir)) {
			changes = append(changes, runners.Subtree{Path: dir, ReadOnly: now})
		}
	}
	return state(""), changes
}
