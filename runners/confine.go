package runners

import (
	"path"
	"slices"
)

// maxMounts bounds the directories of a chroot that are other than their parents:
// each is a mount, and the kernel has 100,000 of them.
const maxMounts = 10_000

// confinement lists what a command in a chroot may change: the directories that
// only its input root has, its working directory, and the parents of its outputs.
// When that is the root itself, fixed lists the chroot's own directories below it.
// An input root that has a file where the chroot has a directory, or the other way
// round, does not fit.
func confinement(chroot, input *inputTree, c *command) (writable, fixed []string, err error) {
	if writable, err = ownDirectories(chroot, chroot.root, input, input.root, "", 0); err != nil {
		return nil, nil, err
	}
	for _, o := range c.outputs {
		parent, _ := splitPath(o.path)
		writable = append(writable, parent)
	}
	if c.workingDir != "" {
		writable = append(writable, c.workingDir)
	}
	writable = outermost(writable)
	if len(writable) > 0 && writable[0] == "" {
		for _, d := range chroot.root.dirs {
			fixed = append(fixed, d.name)
		}
		// What is writable below a fixed directory stays so.
		writable = append([]string{""}, outermost(nested(chroot, input, c))...)
	}
	if n := len(writable) + len(fixed); n > maxMounts {
		return nil, nil, Unfit("the input root adds %d directories to those of the chroot: %d are allowed, and what is below one of them does not count", n, maxMounts)
	}
	return writable, fixed, nil
}

// nested is confinement's list without the root.
func nested(chroot, input *inputTree, c *command) []string {
	list, _ := ownDirectories(chroot, chroot.root, input, input.root, "", 0)
	for _, dir := range c.directories() {
		if dir != "" {
			list = append(list, dir)
		}
	}
	return list
}

// ownDirectories lists the outermost directories that only the input root has.
func ownDirectories(chroot *inputTree, below *directory, input *inputTree, in *directory, at string, depth int) ([]string, error) {
	var own []string
	for i := range in.files {
		if err := fits(chroot, below, at, in.files[i].name); err != nil {
			return nil, err
		}
	}
	for i := range in.links {
		if err := fits(chroot, below, at, in.links[i].name); err != nil {
			return nil, err
		}
	}
	for i := range in.dirs {
		name := in.dirs[i].name
		full := path.Join(at, name)
		sub, kind := chroot.lookup(below, name)
		switch kind {
		case isNothing:
			own = append(own, full)
		case isDir:
			more, err := ownDirectories(chroot, sub, input, input.dirs[in.dirs[i].digest], full, depth+1)
			if err != nil {
				return nil, err
			}
			own = append(own, more...)
		default:
			return nil, Unfit("%q is a directory in the input root and none in the chroot", short(full))
		}
	}
	return own, nil
}

// fits checks the place of a file or symlink of the input root: it may take the
// place of another.
func fits(chroot *inputTree, below *directory, at, name string) error {
	if _, kind := chroot.lookup(below, name); kind == isDir {
		return Unfit("%q is a directory in the chroot and none in the input root", short(path.Join(at, name)))
	}
	return nil
}

// outermost sorts, and drops what lies below another one of the list.
func outermost(list []string) []string {
	slices.Sort(list) // what is above comes first
	kept := make(map[string]bool, len(list))
	return slices.DeleteFunc(list, func(dir string) bool {
		for at := dir; ; at, _ = splitPath(at) {
			if kept[at] {
				return true
			}
			if at == "" {
				break
			}
		}
		kept[dir] = true
		return false
	})
}
