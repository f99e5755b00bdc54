package userchroot

import (
	"path/filepath"
	"strings"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/props"
)

// machine is what a sandbox depends on and no action changes.
type machine struct {
	boundProc bool // the kernel refuses a fresh /proc: the host's, read-only
	ownNet    bool // the sandbox makes the network, since the shim has none of its own
}

// plan is all that the first process of a sandbox needs to know.
type plan struct {
	Root       string // of the host: what becomes the root directory
	ReadOnly   bool   // Root is, but for Subtrees
	Subtrees   []runners.Subtree
	OwnTmp     bool // /tmp is a fresh one
	BoundProc  bool
	OwnNet     bool
	WorkingDir string // relative to Root
	Args, Env  []string
	Socket     string // of the host; "": none
	SocketPath string // relative to Root
}

// mountPoints are directories that every sandbox has.
var mountPoints = [...]string{"dev", "proc", "tmp"}

// planOf is a pure function.
func planOf(m machine, t runners.Task, want props.Sandbox) plan {
	p := plan{
		Root:   t.Dir,
		OwnTmp: true, BoundProc: m.boundProc, OwnNet: m.ownNet && !want.Network,
		WorkingDir: t.WorkingDir, Args: t.Args, Env: t.Env,
	}
	if t.Layers.Lower != "" {
		p.Root = filepath.Join(t.Layers.Scratch, "merged")
	}
	if t.Socket != nil {
		p.Socket, p.SocketPath = t.Socket.Host, t.Socket.Path
	}
	p.ReadOnly, p.Subtrees = protection(t.Layers, t.Subtrees)
	for _, dir := range t.Layers.Writable {
		if dir == "tmp" || strings.HasPrefix(dir, "tmp/") {
			p.OwnTmp = false // it has files of the action
		}
	}
	return p
}
