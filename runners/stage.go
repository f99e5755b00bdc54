package runners

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// stager lays out one input root in a fresh directory, strictly from the top
// down. Names are validated and unique within their directory, and nothing else
// writes there, so each path leads through directories that it made itself.
type stager struct {
	w       *Worker
	dirfd   int    // of the input root
	path    []byte // of the directory being laid out, with a slash at its end
	pending []pendingFile
	dirs    []pendingDir // whose properties are set when all else is done
	placed  int
	tree    *inputTree

	byMode   bool // the modes of files are all that keeps a command from changing them
	readOnly bool // the directory being laid out is, see mark
}

// pendingFile is a file whose content has to be fetched.
type pendingFile struct {
	node *fileNode
	path string
}

type pendingDir struct {
	path  string
	props props
}

// stage lays out the tree and the directories that the command expects below
// dirfd, an empty directory. byMode takes the right to write from what is marked
// read-only, which is for runners that have no better way.
func (w *Worker) stage(ctx context.Context, dirfd int, in *inputs, byMode bool) error {
	return (&stager{w: w, dirfd: dirfd, tree: in.tree, byMode: byMode}).layOut(ctx, in.command)
}

// layOut lays out a tree and nothing else.
func (w *Worker) layOut(ctx context.Context, dirfd int, tree *inputTree) error {
	return (&stager{w: w, dirfd: dirfd, tree: tree}).layOut(ctx, &command{})
}

func (s *stager) layOut(ctx context.Context, c *command) error {
	if err := s.directory(ctx, s.tree.root); err != nil {
		return fmt.Errorf("lay out input root: %w", err)
	}
	if len(s.pending) > 0 {
		if err := s.fetchPending(ctx); err != nil {
			return fmt.Errorf("lay out input files: %w", err)
		}
	}
	if err := s.expected(c); err != nil {
		return fmt.Errorf("make directories of outputs: %w", err)
	}
	return s.setDirProps()
}

// directory lays out what is in dir at s.path.
func (s *stager) directory(ctx context.Context, dir *directory) error {
	base, outer := len(s.path), s.readOnly
	s.readOnly = s.byMode && dir.mark.within(outer)
	defer func() { s.readOnly = outer }()
	props := dir.props
	if s.readOnly {
		props = props.withoutWrite(modeDir)
	}
	if props.hasMode || !props.mtime.IsZero() {
		s.dirs = append(s.dirs, pendingDir{path: string(s.path), props: props})
	}
	for i := range dir.files {
		f := &dir.files[i]
		if err := s.file(ctx, f); err != nil {
			return err
		}
	}
	for i := range dir.links {
		l := &dir.links[i]
		if err := s.link(l); err != nil {
			return err
		}
	}
	for i := range dir.dirs {
		sub := &dir.dirs[i]
		if base+len(sub.name) > maxPath {
			return Invalid("the input root has a path longer than %d bytes: %q", maxPath, short(string(s.path)))
		}
		s.path = append(s.path, sub.name...)
		if err := s.w.makeDir(s.dirfd, string(s.path)); err != nil {
			return err
		}
		s.path = append(s.path, '/')
		if err := s.directory(ctx, s.tree.dirs[sub.digest]); err != nil {
			return err
		}
		s.path = s.path[:base]
	}
	return nil
}

func mkdir(dirfd int, rel string) error {
	for {
		if err := unix.Mkdirat(dirfd, rel, modeDir); err != unix.EINTR {
			return pathError("make directory", rel, err)
		}
	}
}

// makeDir makes a directory of an input root with the mode that it shall have.
func (w *Worker) makeDir(dirfd int, rel string) error {
	err := mkdir(dirfd, rel)
	if err == nil && w.umask&modeDir != 0 {
		err = pathError("set mode of", rel, unix.Fchmodat(dirfd, rel, modeDir, 0))
	}
	return err
}

// file lays out a file whose content is at hand, or puts it on the list.
func (s *stager) file(ctx context.Context, f *fileNode) error {
	const checkEvery = 256
	if s.placed++; s.placed%checkEvery == 0 && ctx.Err() != nil {
		return ctx.Err()
	}
	if len(s.path)+len(f.name) > maxPath {
		return Invalid("the input root has a path longer than %d bytes: %q", maxPath, short(string(s.path)))
	}
	rel := string(append(s.path, f.name...))
	if s.readOnly {
		f = f.withoutWrite()
	}
	if f.digest.IsEmpty() {
		return s.w.writeInput(s.dirfd, rel, f, nil)
	}
	if data, ok := s.w.files.small(f.digest); ok {
		return s.w.writeInput(s.dirfd, rel, f, data)
	}
	ok, err := s.fromCache(f, rel)
	if err != nil {
		return err
	}
	if !ok {
		s.pending = append(s.pending, pendingFile{node: f, path: rel})
	}
	return nil
}

// fromCache copies a file from the cache on disk.
func (s *stager) fromCache(f *fileNode, rel string) (ok bool, err error) {
	if _, ok := s.w.files.disk.get(f.digest); !ok {
		return false, nil
	}
	fd, err := s.w.createInput(s.dirfd, rel, f)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	ok, err = s.w.files.copyTo(fd, f.digest)
	if err == nil && ok {
		return true, setProps(fd, f.props)
	}
	if err == nil { // gone from the cache meanwhile
		err = pathError("remove", rel, unix.Unlinkat(s.dirfd, rel, 0))
	}
	return false, err
}

func (s *stager) link(l *linkNode) error {
	if len(s.path)+len(l.name) > maxPath {
		return Invalid("the input root has a path longer than %d bytes: %q", maxPath, short(string(s.path)))
	}
	rel := string(append(s.path, l.name...))
	if err := unix.Symlinkat(l.target, s.dirfd, rel); err != nil {
		return pathError("make symlink", rel, err)
	}
	if !l.props.mtime.IsZero() {
		return setTimes(s.dirfd, rel, l.props.mtime, unix.AT_SYMLINK_NOFOLLOW)
	}
	return nil
}

// createInput makes an input file with the mode that it shall have.
func (w *Worker) createInput(dirfd int, rel string, f *fileNode) (int, error) {
	mode := uint32(modeFile)
	if f.executable {
		mode = modeExec
	}
	fd, err := createFile(dirfd, rel, mode)
	if err == nil && w.umask&mode != 0 {
		if err := unix.Fchmod(fd, mode); err != nil {
			unix.Close(fd)
			return -1, pathError("set mode of", rel, err)
		}
	}
	return fd, err
}

// writeInput lays out a file whose content is in memory.
func (w *Worker) writeInput(dirfd int, rel string, f *fileNode, data []byte) error {
	fd, err := w.createInput(dirfd, rel, f)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := writeAll(fd, data); err != nil {
		return pathError("write", rel, err)
	}
	return setProps(fd, f.props)
}

// setDirProps goes from the bottom up: what is made in a directory changes its
// modification time, and a directory without the right to write takes nothing.
func (s *stager) setDirProps() error {
	for i := len(s.dirs) - 1; i >= 0; i-- {
		d := s.dirs[i]
		rel := "."
		if d.path != "" {
			rel = d.path[:len(d.path)-1]
		}
		if d.props.hasMode {
			const allowed = 0o1777 // with the sticky bit, without set-group-ID
			if err := unix.Fchmodat(s.dirfd, rel, d.props.mode&allowed, 0); err != nil {
				return pathError("set mode of", rel, err)
			}
		}
		if !d.props.mtime.IsZero() {
			if err := setTimes(s.dirfd, rel, d.props.mtime, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// expected makes the working directory and the parents of the outputs (REAPI,
// Command.output_paths). The outputs themselves are the command's to make.
func (s *stager) expected(c *command) error {
	made := map[string]bool{}
	if err := s.mkdirAll(c.workingDir, made); err != nil {
		return err
	}
	for _, o := range c.outputs {
		parent, _ := splitPath(o.path)
		if err := s.mkdirAll(parent, made); err != nil {
			return err
		}
	}
	return nil
}

// mkdirAll makes the directories of a clean path that are not in the tree.
func (s *stager) mkdirAll(path string, made map[string]bool) error {
	if path == "" || made[path] {
		return nil
	}
	at := s.tree.root
	for end := 0; end < len(path); end++ {
		name, _ := firstComponent(path[end:])
		end += len(name)
		prefix := path[:end]
		if at != nil {
			next, kind := s.tree.lookup(at, name)
			switch kind {
			case isDir:
				at = next
				continue
			case isFile:
				return Unfit("%q is a file in the input root, and the command needs a directory there", short(prefix))
			case isLink:
				return s.mkdirAllBeneath(path)
			}
			at = nil
		}
		if made[prefix] {
			continue
		}
		if err := s.w.makeDir(s.dirfd, prefix); err != nil {
			return err
		}
		made[prefix] = true
	}
	made[path] = true
	return nil
}

// mkdirAllBeneath is mkdirAll for a path with a symlink of the input root in it,
// which is followed as long as it stays in the input root.
func (s *stager) mkdirAllBeneath(path string) error {
	for end := 0; end < len(path); end++ {
		name, _ := firstComponent(path[end:])
		start := end
		end += len(name)
		parent, err := openBeneath(s.dirfd, trimSlash(path[:start]), unix.O_PATH|unix.O_DIRECTORY)
		if err == nil {
			err = s.w.makeDir(parent, name)
			unix.Close(parent)
		}
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return ledAstray(path, err)
		}
	}
	// The last one may be a symlink, too, and to anywhere.
	fd, err := openBeneath(s.dirfd, path, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return ledAstray(path, err)
	}
	unix.Close(fd)
	return nil
}

// ledAstray tells the client what it can mend.
func ledAstray(path string, err error) error {
	if errors.Is(err, errEscape) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ELOOP) {
		return Unfit("%q leads out of the input root, or to no directory, through a symlink: an output or the working directory cannot be there", short(path))
	}
	return err
}

func trimSlash(p string) string {
	if n := len(p); n > 0 && p[n-1] == '/' {
		return p[:n-1]
	}
	return p
}

type entryKind int

const (
	isNothing entryKind = iota
	isFile
	isLink
	isDir
)

// lookup finds an entry of a directory of the tree.
func (t *inputTree) lookup(dir *directory, name string) (*directory, entryKind) {
	for i := range dir.dirs {
		if dir.dirs[i].name == name {
			return t.dirs[dir.dirs[i].digest], isDir
		}
	}
	for i := range dir.files {
		if dir.files[i].name == name {
			return nil, isFile
		}
	}
	for i := range dir.links {
		if dir.links[i].name == name {
			return nil, isLink
		}
	}
	return nil, isNothing
}
