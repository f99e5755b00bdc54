package runners

// Layering is implemented by runners that can show a command more than Task.Dir, and
// keep it from changing parts of that (Task.Subtrees).
type Layering interface {
	// Overlays tells whether Task.Dir can be laid over a tree that other actions
	// share, Layers.Lower, such that none can change what another sees. When not,
	// everything is in Task.Dir.
	Overlays() bool
	// Chroots tells whether actions run in the tree that the platform property
	// chrootRootDigest names, with the input root laid into it.
	Chroots() bool
}

// Layers is what Task.Dir is laid over.
type Layers struct {
	// Lower is the absolute path of a tree that is shared and must not change; ""
	// when all is in Task.Dir.
	Lower string
	// Scratch is an empty directory of this task, in the same file system as Dir.
	Scratch string
	// Dirs are to be made with their parents where they are not there, relative to
	// the root: the working directory and the parents of outputs.
	Dirs []string
	// Writable, for a runner that Chroots, are the only directories that the command
	// may change, with all below them; relative to the root, "" for the root itself.
	Writable []string
	// Fixed, when the root itself is writable, are those below it that are not.
	Fixed []string
}
