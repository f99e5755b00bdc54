package runners

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// treeBuilder gathers the Directory messages of one output directory. A
// directory is added when all below it are, so read backwards the list is in
// topological order: parents before children, the root first.
type treeBuilder struct {
	c     *collector
	seen  map[digest.Digest]bool
	order []treeDir
}

type treeDir struct {
	digest digest.Digest
	data   []byte
}

// directory collects an output directory in the format that the command asks for
// (REAPI, Command.output_directory_format).
func (c *collector) directory(ctx context.Context, o output, parent int, name string) error {
	b := &treeBuilder{c: c, seen: map[digest.Digest]bool{}}
	root, err := b.walk(ctx, parent, name, o.path, 0)
	if err != nil {
		return err
	}
	out := &repb.OutputDirectory{Path: o.asGiven}
	if format := c.cmd.format; format == repb.Command_DIRECTORY_ONLY || format == repb.Command_TREE_AND_DIRECTORY {
		for _, d := range b.order {
			if err := c.up.data(ctx, d.digest, d.data); err != nil {
				return err
			}
		}
		out.RootDirectoryDigest = root.Proto()
	}
	if c.cmd.format != repb.Command_DIRECTORY_ONLY {
		tree := b.tree()
		d := digest.Of(c.up.function, tree)
		if err := c.up.data(ctx, d, tree); err != nil {
			return err
		}
		out.TreeDigest = d.Proto()
		out.IsTopologicallySorted = true
	}
	c.result.OutputDirectories = append(c.result.OutputDirectories, out)
	return nil
}

// tree encodes the Tree message record by record, as is_topologically_sorted
// asks (REAPI, OutputDirectory).
func (b *treeBuilder) tree() []byte {
	size := 0
	for _, d := range b.order {
		size += protowire.SizeTag(1) + protowire.SizeBytes(len(d.data))
	}
	out := make([]byte, 0, size)
	field := protowire.Number(1) // root; what follows are children, field 2
	for _, d := range slices.Backward(b.order) {
		out = protowire.AppendTag(out, field, protowire.BytesType)
		out = protowire.AppendBytes(out, d.data)
		field = 2
	}
	return out
}

// walk collects a directory and all below it, and returns its digest. path is
// for messages.
func (b *treeBuilder) walk(ctx context.Context, parent int, name, path string, depth int) (digest.Digest, error) {
	if depth > maxDepth {
		return digest.Digest{}, Unfit("it nests deeper than %d directories", maxDepth)
	}
	dir, st, err := readableDir(parent, name)
	if err != nil {
		return digest.Digest{}, err
	}
	defer dir.Close()
	names, err := b.names(ctx, dir, path)
	if err != nil {
		return digest.Digest{}, err
	}
	msg := &repb.Directory{NodeProperties: b.c.props(st)}
	// Subdirectories backwards: reversed, the tree then has them in order.
	for _, name := range slices.Backward(names) {
		if err := b.entry(ctx, msg, int(dir.Fd()), name, path, depth); err != nil {
			return digest.Digest{}, err
		}
	}
	slices.Reverse(msg.Files)
	slices.Reverse(msg.Directories)
	slices.Reverse(msg.Symlinks)
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(msg)
	if err != nil {
		return digest.Digest{}, fmt.Errorf("encode directory %q: %w", short(path), err)
	}
	d := digest.Of(b.c.up.function, data)
	if !b.seen[d] {
		b.seen[d] = true
		b.order = append(b.order, treeDir{d, data})
	}
	return d, nil
}

// names reads a directory's names in order.
func (b *treeBuilder) names(ctx context.Context, dir *os.File, path string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	const atOnce = 4096
	var names []string
	for {
		some, err := dir.Readdirnames(atOnce)
		names = append(names, some...)
		if b.c.entries += len(some); b.c.entries > maxOutputEntries {
			return nil, Unfit("the output directories have more than %d entries", maxOutputEntries)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("list directory: %w", err)
		}
	}
	slices.Sort(names)
	return slices.DeleteFunc(names, func(name string) bool {
		if utf8.ValidString(name) {
			return false
		}
		b.c.note("%q is left out: its name is not UTF-8", short(path+"/"+name))
		return true
	}), nil
}

// entry adds one entry of a directory to its message.
func (b *treeBuilder) entry(ctx context.Context, msg *repb.Directory, dirfd int, name, path string, depth int) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dirfd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return pathError("stat", path+"/"+name, err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		d, err := b.c.up.file(ctx, dirfd, name, &st)
		if err != nil {
			return err
		}
		msg.Files = append(msg.Files, &repb.FileNode{
			Name: name, Digest: d.Proto(), IsExecutable: isExecutable(&st), NodeProperties: b.c.props(&st),
		})
	case unix.S_IFDIR:
		d, err := b.walk(ctx, dirfd, name, path+"/"+name, depth+1)
		if err != nil {
			return err
		}
		msg.Directories = append(msg.Directories, &repb.DirectoryNode{Name: name, Digest: d.Proto()})
	case unix.S_IFLNK:
		target, err := readlink(dirfd, name)
		if err != nil {
			return err
		}
		msg.Symlinks = append(msg.Symlinks, &repb.SymlinkNode{Name: name, Target: target, NodeProperties: b.c.props(&st)})
	default:
		b.c.note("%q is left out: it is a %s", short(strings.TrimPrefix(path+"/"+name, "/")), specialName(st.Mode))
	}
	return nil
}

// readableDir opens a directory for listing, and gives its owner the right to
// read it where the action took it away.
func readableDir(parent int, name string) (*os.File, *unix.Stat_t, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	var st unix.Stat_t
	if err := unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, nil, pathError("stat", name, err)
	}
	fd, err := unix.Openat(parent, name, flags, 0)
	if errors.Is(err, unix.EACCES) || (err == nil && st.Mode&0o500 != 0o500) {
		if err == nil {
			unix.Close(fd)
		}
		if err := unix.Fchmodat(parent, name, st.Mode&0o7777|0o700, 0); err != nil {
			return nil, nil, pathError("make readable", name, err)
		}
		fd, err = unix.Openat(parent, name, flags, 0)
	}
	if err != nil {
		return nil, nil, pathError("open", name, err)
	}
	return os.NewFile(uintptr(fd), name), &st, nil
}
