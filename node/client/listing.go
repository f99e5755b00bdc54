package client

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// EntryKind says what an Entry of a tree is.
type EntryKind string

// The kinds, as listings print them.
const (
	DirectoryEntry  EntryKind = "dir"
	FileEntry       EntryKind = "file"
	ExecutableEntry EntryKind = "exec"
	SymlinkEntry    EntryKind = "link"
)

// Entry is one path of a tree.
type Entry struct {
	Path   string // slash-separated, "." for the root
	Kind   EntryKind
	Digest digest.Digest // zero for a link
	Target string        // of a link
}

// WalkTree hands every path of the tree beneath the Directory root to visit:
// a directory before what is in it, names in order. The same limits hold as for
// DownloadTree; a tree that breaks them is ErrMalformed before anything is visited.
func (c *Client) WalkTree(ctx context.Context, root digest.Digest, visit func(Entry) error) error {
	dirs, err := c.GetTree(ctx, root)
	if err != nil {
		return err
	}
	if err := newPlan().addTree(".", root, dirs); err != nil {
		return err
	}
	return walk(".", root, dirs, visit)
}

func walk(at string, d digest.Digest, dirs Directories, visit func(Entry) error) error {
	if err := visit(Entry{Path: at, Kind: DirectoryEntry, Digest: d}); err != nil {
		return err
	}
	dir := dirs[d]
	entries := make([]Entry, 0, len(dir.Files)+len(dir.Directories)+len(dir.Symlinks))
	for _, f := range dir.Files {
		e := Entry{Path: f.Name, Kind: FileEntry}
		if f.IsExecutable {
			e.Kind = ExecutableEntry
		}
		var err error
		if e.Digest, err = digest.FromProto(d.Function, f.Digest); err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		entries = append(entries, e)
	}
	for _, n := range dir.Directories {
		child, err := digest.FromProto(d.Function, n.Digest)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		entries = append(entries, Entry{Path: n.Name, Kind: DirectoryEntry, Digest: child})
	}
	for _, l := range dir.Symlinks {
		entries = append(entries, Entry{Path: l.Name, Kind: SymlinkEntry, Target: l.Target})
	}
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) })
	for _, e := range entries {
		e.Path = path.Join(at, e.Path)
		var err error
		if e.Kind == DirectoryEntry {
			err = walk(e.Path, e.Digest, dirs, visit)
		} else {
			err = visit(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
