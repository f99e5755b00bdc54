package runners

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/bgrid-node/bgrid-node/runners/trees"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// layout is where an action's files are, and how its command shall see them.
type layout struct {
	dir    string // Task.Dir
	layers *Layers
	shared *trees.Tree // in use as Layers.Lower; nil: none

	subtrees []Subtree // what the command may change, and what not
}

// lower is the shared tree beneath; "" without one.
func (l *layout) lower() string {
	if l.layers == nil {
		return ""
	}
	return l.layers.Lower
}

// What is in the directory of an action that has layers. A runner makes none of
// them.
const (
	upperName  = "upper"  // what the action has for itself: Task.Dir
	workName   = "work"   // the kernel's, for overlays
	mergedName = "merged" // where the runner may mount
)

// lay lays the inputs out as the runner can use them.
func (e *execution) lay(ctx context.Context, runner Runner) error {
	e.layout.dir = e.root.path
	var err error
	if e.layout.subtrees, err = e.in.tree.subtrees(); err != nil {
		return err
	}
	r, _ := runner.(Layering)
	switch {
	case r != nil && r.Chroots():
		return e.layChroot(ctx, r.Overlays())
	case r != nil && r.Overlays() && e.in.tree.isRootFS(e.in.command.args[0]):
		return e.layShared(ctx)
	}
	return e.w.stage(ctx, e.root.fd, e.in, r == nil)
}

// layShared has an input root that is a root file system laid out once for all
// actions that have it.
func (e *execution) layShared(ctx context.Context) error {
	if err := e.layered(); err != nil {
		return err
	}
	tree, err := e.w.sharedTree(ctx, e.in.rootDigest, func(context.Context) (*inputTree, error) { return e.in.tree, nil })
	if err != nil {
		return err
	}
	e.layout.shared, e.layout.layers.Lower = tree, tree.Path
	return nil
}

// layChroot lays the input root over the tree that the action names.
func (e *execution) layChroot(ctx context.Context, overlay bool) error {
	root, err := chrootDigest(e.lease)
	if err != nil {
		return err
	}
	if err := e.layered(); err != nil {
		return err
	}
	upper, err := openDir(e.root.fd, upperName)
	if err != nil {
		return fmt.Errorf("open input root: %w", err)
	}
	defer unix.Close(upper)
	load := func(ctx context.Context) (*inputTree, error) { return e.w.loadRoot(ctx, root) }
	if !overlay {
		tree, err := load(ctx)
		if err != nil {
			return fmt.Errorf("chroot: %w", err)
		}
		if err := e.confine(tree); err != nil {
			return err
		}
		merged := *e.in
		merged.tree = merge(tree, e.in.tree)
		return e.w.stage(ctx, upper, &merged, false)
	}
	shared, err := e.w.sharedTree(ctx, root, load)
	if err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	e.layout.shared, e.layout.layers.Lower = shared, shared.Path
	if err := e.confine(shared.Meta.(*inputTree)); err != nil {
		return err
	}
	return e.w.layOut(ctx, upper, e.in.tree)
}

// confine notes which directories the command may change, and refuses an input
// root that does not fit the chroot.
func (e *execution) confine(chroot *inputTree) (err error) {
	e.layout.layers.Writable, e.layout.layers.Fixed, err = confinement(chroot, e.in.tree, e.in.command)
	if err != nil || !chroot.marked {
		return err
	}
	e.layout.subtrees, err = merge(chroot, e.in.tree).subtrees()
	return err
}

// layered makes the directories of an action that has layers.
func (e *execution) layered() error {
	for _, name := range []string{upperName, workName, mergedName} {
		if err := e.w.makeDir(e.root.fd, name); err != nil {
			return fmt.Errorf("make input root: %w", err)
		}
	}
	e.layout.dir = filepath.Join(e.root.path, upperName)
	e.layout.layers = &Layers{Scratch: e.root.path, Dirs: e.in.command.directories()}
	return nil
}

// directories lists what REAPI wants to be there: the working directory and the
// parents of the outputs.
func (c *command) directories() []string {
	dirs := []string{c.workingDir}
	for _, o := range c.outputs {
		parent, _ := splitPath(o.path)
		dirs = append(dirs, parent)
	}
	return dirs
}

// chrootProperty names the digest of the tree in which an action runs.
const chrootProperty = "chrootRootDigest"

// chrootDigest reads the property ("hash/size").
func chrootDigest(l *Lease) (digest.Digest, error) {
	for _, p := range l.Properties {
		if p.Name != chrootProperty {
			continue
		}
		d, err := digest.Parse(p.Value)
		if err != nil {
			return d, Unfit("the platform property %s: %v: want HASH/SIZE of a Directory", chrootProperty, err)
		}
		return d, nil
	}
	return digest.Digest{}, Unfit("this runner needs the platform property %s: HASH/SIZE of the Directory that is the root of the file system", chrootProperty)
}

// sharedTree returns the tree, laid out on disk; load is asked only when it is
// not there yet.
func (w *Worker) sharedTree(ctx context.Context, root digest.Digest, load func(context.Context) (*inputTree, error)) (*trees.Tree, error) {
	return w.trees.Get(ctx, root.String(), func(ctx context.Context, path string) (int64, any, error) {
		tree, err := load(ctx)
		if err != nil {
			return 0, nil, err
		}
		fd, err := openDir(unix.AT_FDCWD, path)
		if err != nil {
			return 0, nil, err
		}
		defer unix.Close(fd)
		if err := w.layOut(ctx, fd, tree); err != nil {
			return 0, nil, unlessCancelled(ctx, err)
		}
		return tree.diskBytes(), tree, nil
	})
}

// loadRoot reads the Directory messages of a tree.
func (w *Worker) loadRoot(ctx context.Context, root digest.Digest) (*inputTree, error) {
	found, err := w.loadLevel(ctx, []digest.Digest{root})
	if err != nil {
		return nil, err
	}
	return w.loadTree(ctx, found[0])
}

// finish gives back what the layout had in use, and prefers what the command saw
// for finding outputs.
func (e *execution) finishLayout() {
	if e.exit.Root != nil {
		_ = e.exit.Root.Close()
	}
	if e.layout.shared != nil {
		e.layout.shared.Release()
	}
}

// outputRoot returns a directory to find outputs in.
func (e *execution) outputRoot() (fd int, done func(), err error) {
	if e.exit.Root != nil {
		return int(e.exit.Root.Fd()), func() {}, nil
	}
	if err := e.root.open(); err != nil {
		return -1, nil, err
	}
	if e.layout.layers == nil {
		return e.root.fd, func() {}, nil
	}
	fd, err = openDir(e.root.fd, upperName)
	if errors.Is(err, unix.EACCES) {
		err = fmt.Errorf("open what the command left: %w", err)
	}
	return fd, func() { unix.Close(fd) }, err
}
