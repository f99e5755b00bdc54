package bubblewrap

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/shim"
)

// files tells where on the host an action's files are.
type files struct {
	root string // what becomes the root directory, or a part of it
	look string // where they can be looked at before the command starts
}

func filesOf(t runners.Task) files {
	if t.Layers == nil || t.Layers.Lower == "" {
		return files{root: t.Dir, look: t.Dir}
	}
	return files{root: filepath.Join(t.Layers.Scratch, "merged"), look: t.Layers.Lower}
}

// overlay is what the shim mounts; nil when all is in the task's directory.
func (f files) overlay(t runners.Task) *shim.Overlay {
	if f.root == t.Dir {
		return nil
	}
	return &shim.Overlay{
		Lower: t.Layers.Lower, Upper: t.Dir, Work: filepath.Join(t.Layers.Scratch, "work"), Merged: f.root, Dirs: t.Layers.Dirs,
	}
}

// mountPoints are made in a root file system that lacks them.
var mountPoints = [...]string{"dev", "proc", "tmp"}

func (f files) missing() []string {
	if f.root != f.look {
		return nil // they would be in the upper layer only, where outputs are merged: see tidy
	}
	var names []string
	for _, name := range mountPoints {
		if !exists(filepath.Join(f.look, name)) {
			names = append(names, name)
		}
	}
	return names
}

// tidy removes mount points that were made, so that they do not turn up as
// outputs.
func (f files) tidy(names []string) {
	for _, name := range names {
		_ = unix.Rmdir(filepath.Join(f.root, name))
	}
}

// hasTmp tells whether the action has files in /tmp, or expects some there.
func (f files) hasTmp(t runners.Task) bool {
	if t.Layers != nil {
		for _, dir := range t.Layers.Dirs {
			if dir == "tmp" || strings.HasPrefix(dir, "tmp/") {
				return true
			}
		}
	}
	dir, err := os.Open(filepath.Join(f.look, "tmp"))
	if err != nil {
		return false
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(1)
	return len(names) > 0
}
