package runners

import (
	"context"
	"errors"
	"fmt"
	"strings"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// collector turns what a command left in its input root into an ActionResult.
// Nothing of the action runs any more. It never follows a symlink that leads out
// of the input root, and opens nothing but regular files and directories: the
// root, or whoever the action ran as, may have planted anything there.
type collector struct {
	rootfd  int
	cmd     *command
	up      *uploader
	parents map[string]int // open directories of outputs, by path; closed at the end
	notes   []string       // what was left out and why, for the action's stderr
	entries int            // of output directories
	result  *repb.ActionResult
}

const (
	// maxOutputEntries bounds the entries of all output directories of an action.
	maxOutputEntries = 1 << 20
	// maxNotes bounds what is said about left-out outputs.
	maxNotes = 20
)

// collect adds the command's outputs to result and hands their contents to up,
// which the caller flushes. An output that is not there is left out (REAPI,
// ActionResult.output_files).
func collect(ctx context.Context, rootfd int, cmd *command, up *uploader, result *repb.ActionResult) (notes []string, err error) {
	c := &collector{rootfd: rootfd, cmd: cmd, up: up, result: result}
	defer c.close()
	for _, o := range cmd.outputs {
		if err := c.output(ctx, o); err != nil {
			return c.notes, fmt.Errorf("collect output %q: %w", short(o.asGiven), err)
		}
	}
	return c.notes, nil
}

func (c *collector) close() {
	for _, fd := range c.parents {
		unix.Close(fd)
	}
}

func (c *collector) note(format string, args ...any) {
	switch {
	case len(c.notes) < maxNotes:
		c.notes = append(c.notes, fmt.Sprintf(format, args...))
	case len(c.notes) == maxNotes:
		c.notes = append(c.notes, "more outputs were left out")
	}
}

// parent opens the directory that an output is in; ok is false when there is none.
func (c *collector) parent(dir string) (fd int, ok bool, err error) {
	if dir == "" {
		return c.rootfd, true, nil
	}
	if fd, ok := c.parents[dir]; ok {
		return fd, true, nil
	}
	fd, err = openBeneath(c.rootfd, dir, unix.O_PATH|unix.O_DIRECTORY)
	switch {
	case err == nil:
		if c.parents == nil {
			c.parents = map[string]int{}
		}
		c.parents[dir] = fd
		return fd, true, nil
	case errors.Is(err, errEscape):
		c.note("outputs in %q are left out: the path leads out of the input root through a symlink", short(dir))
		return -1, false, nil
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP):
		return -1, false, nil
	}
	return -1, false, err
}

// find looks at an output in its directory; ok is false when it is not there.
func (c *collector) find(path string) (parent int, name string, st unix.Stat_t, ok bool, err error) {
	dir, name := splitPath(path)
	parent, ok, err = c.parent(dir)
	if !ok {
		return parent, name, st, false, err
	}
	err = unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return parent, name, st, false, nil
	}
	return parent, name, st, true, pathError("stat", path, err)
}

func (c *collector) output(ctx context.Context, o output) error {
	if o.path == "" {
		return c.directory(ctx, o, c.rootfd, ".")
	}
	parent, name, st, ok, err := c.find(o.path)
	if errors.Is(err, unix.EACCES) {
		c.unlock(o.path)
		parent, name, st, ok, err = c.find(o.path)
	}
	if !ok || err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if o.kind == dirOutput {
			return Unfit("it is a file, and output_directories has it")
		}
		return c.file(ctx, o, parent, name, &st)
	case unix.S_IFDIR:
		if o.kind == fileOutput {
			return Unfit("it is a directory, and output_files has it")
		}
		return c.directory(ctx, o, parent, name)
	case unix.S_IFLNK:
		return c.symlink(o, parent, name, &st)
	}
	c.note("output %q is left out: it is a %s, neither a file nor a directory nor a symlink", short(o.asGiven), specialName(st.Mode))
	return nil
}

// unlock gives the owner of the directories above path the rights back that the
// action, or node properties, took from him.
func (c *collector) unlock(path string) {
	dir, _ := splitPath(path)
	at := c.rootfd
	for dir != "" {
		var name string
		name, dir = firstComponent(dir)
		next, err := openDir(at, name)
		var st unix.Stat_t
		if err == nil && unix.Fstat(next, &st) == nil && st.Mode&0o700 != 0o700 {
			_ = unix.Fchmodat(at, name, st.Mode&0o7777|0o700, 0) // whoever looks next sees whether it helped
		}
		if at != c.rootfd {
			unix.Close(at)
		}
		if err != nil {
			return
		}
		at = next
	}
	if at != c.rootfd {
		unix.Close(at)
	}
}

func (c *collector) file(ctx context.Context, o output, parent int, name string, st *unix.Stat_t) error {
	d, err := c.up.file(ctx, parent, name, st)
	if err != nil {
		return err
	}
	c.result.OutputFiles = append(c.result.OutputFiles, &repb.OutputFile{
		Path: o.asGiven, Digest: d.Proto(), IsExecutable: isExecutable(st), NodeProperties: c.props(st),
	})
	return nil
}

// symlink records a symlink as what it is. Which of the lists it goes to: see
// REAPI, ActionResult.output_symlinks. Those of 2.0 are kept up.
func (c *collector) symlink(o output, parent int, name string, st *unix.Stat_t) error {
	target, err := readlink(parent, name)
	if err != nil {
		return err
	}
	link := &repb.OutputSymlink{Path: o.asGiven, Target: target, NodeProperties: c.props(st)}
	kind := c.kindBehind(o.path)
	switch {
	case o.kind == fileOutput && kind == isDir:
		return Unfit("it is a symlink to a directory, and output_files has it")
	case o.kind == dirOutput && kind == isFile:
		return Unfit("it is a symlink to a file, and output_directories has it")
	}
	if c.cmd.pathsField {
		c.result.OutputSymlinks = append(c.result.OutputSymlinks, link)
	}
	if o.kind == dirOutput || (o.kind == anyOutput && kind == isDir) {
		c.result.OutputDirectorySymlinks = append(c.result.OutputDirectorySymlinks, link)
	} else if o.kind == fileOutput || kind == isFile {
		c.result.OutputFileSymlinks = append(c.result.OutputFileSymlinks, link)
	}
	return nil
}

// kindBehind tells what a symlink leads to, as far as that is in the input root.
func (c *collector) kindBehind(path string) entryKind {
	fd, err := openBeneath(c.rootfd, path, unix.O_PATH)
	if err != nil {
		return isNothing
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return isNothing
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return isFile
	case unix.S_IFDIR:
		return isDir
	case unix.S_IFLNK:
		return isLink
	}
	return isNothing
}

func readlink(dirfd int, name string) (string, error) {
	buf := make([]byte, 4097) // a target has 4095 bytes at most
	n, err := unix.Readlinkat(dirfd, name, buf)
	if err != nil {
		return "", pathError("read symlink", name, err)
	}
	return strings.ToValidUTF8(string(buf[:n]), "\uFFFD"), nil
}

// props returns the node properties that the command asked for.
func (c *collector) props(st *unix.Stat_t) *repb.NodeProperties {
	if !c.cmd.wantMtime && !c.cmd.wantMode {
		return nil
	}
	p := &repb.NodeProperties{}
	if c.cmd.wantMtime {
		p.Mtime = &timestamppb.Timestamp{Seconds: int64(st.Mtim.Sec), Nanos: int32(st.Mtim.Nsec)}
	}
	if c.cmd.wantMode {
		p.UnixMode = wrapperspb.UInt32(st.Mode & 0o7777)
	}
	return p
}

func isExecutable(st *unix.Stat_t) bool { return st.Mode&0o111 != 0 }

func specialName(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFIFO:
		return "named pipe"
	case unix.S_IFSOCK:
		return "socket"
	}
	return "device"
}
