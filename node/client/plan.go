package client

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Limits on what is laid out on the disk: a few shared directories can name an
// astronomic number of paths.
const (
	maxEntries = 5_000_000
	maxPath    = 4000 // bytes
)

// plan is what a download lays out, with paths relative to its target. The zero
// plan is not ready: see newPlan.
type plan struct {
	dirs  []plannedDir // parents first
	files map[digest.Digest][]plannedFile
	order []digest.Digest // of files, as met
	links []plannedLink
	count int
	bytes int64 // of distinct files
}

type plannedDir struct {
	path       string
	parent     bool // only on the way to an output
	properties properties
}

type plannedFile struct {
	path       string
	executable bool
	properties properties
}

type plannedLink struct{ path, target string }

// properties are the NodeProperties that a disk can hold.
type properties struct {
	mtime   time.Time   // zero: as it comes
	mode    fs.FileMode // permission bits
	hasMode bool
}

func newPlan() *plan { return &plan{files: map[digest.Digest][]plannedFile{}} }

// propertiesOf takes over times and permission bits; never set-id bits.
func propertiesOf(p *repb.NodeProperties) properties {
	var out properties
	if p.GetMtime().IsValid() && p.GetMtime() != nil {
		out.mtime = p.Mtime.AsTime()
	}
	if p.GetUnixMode() != nil {
		out.mode, out.hasMode = fs.FileMode(p.UnixMode.Value)&fs.ModePerm, true
	}
	return out
}

func (p *plan) enter(name string) error {
	if p.count++; p.count > maxEntries {
		return fmt.Errorf("%w: more than %d entries", ErrMalformed, maxEntries)
	}
	if len(name) > maxPath {
		return fmt.Errorf("%w: a path is longer than %d bytes", ErrMalformed, maxPath)
	}
	return nil
}

// addTree plans the directory root at the relative path at. Its entries are
// counted first, since a few messages can name more than any memory holds.
func (p *plan) addTree(at string, root digest.Digest, dirs Directories) error {
	if count := countEntries(root, dirs, map[digest.Digest]int{}, 0); count > maxEntries {
		return fmt.Errorf("%w: tree %s has more than %d entries, or is deeper than any path", ErrMalformed, root, maxEntries)
	}
	return p.layTree(at, root, dirs)
}

// countEntries returns the number of paths beneath root, itself included, or more
// than maxEntries.
func countEntries(root digest.Digest, dirs Directories, known map[digest.Digest]int, depth int) int {
	if count, ok := known[root]; ok {
		return count
	}
	dir := dirs[root]
	if depth > maxPath {
		return maxEntries + 1
	}
	count := 1 + len(dir.GetFiles()) + len(dir.GetSymlinks())
	for _, node := range dir.GetDirectories() {
		if d, err := digest.FromProto(root.Function, node.Digest); err == nil {
			count += countEntries(d, dirs, known, depth+1)
		}
		if count > maxEntries {
			break
		}
	}
	known[root] = count
	return count
}

func (p *plan) layTree(at string, root digest.Digest, dirs Directories) error {
	dir := dirs[root]
	if dir == nil {
		return fmt.Errorf("%w: directory %s is not in the tree", ErrMalformed, root)
	}
	if err := p.enter(at); err != nil {
		return err
	}
	if err := checkNames(root, dir); err != nil {
		return err
	}
	p.dirs = append(p.dirs, plannedDir{path: at, properties: propertiesOf(dir.NodeProperties)})
	for _, f := range dir.Files {
		d, err := digest.FromProto(root.Function, f.Digest)
		if err != nil {
			return fmt.Errorf("%w: directory %s, entry %q: %w", ErrMalformed, root, f.Name, err)
		}
		if err := p.addFile(path.Join(at, f.Name), d, f.IsExecutable, propertiesOf(f.NodeProperties)); err != nil {
			return err
		}
	}
	for _, l := range dir.Symlinks {
		if err := p.addLink(path.Join(at, l.Name), l.Target); err != nil {
			return err
		}
	}
	for _, node := range dir.Directories {
		d, err := digest.FromProto(root.Function, node.Digest)
		if err != nil {
			return fmt.Errorf("%w: directory %s, entry %q: %w", ErrMalformed, root, node.Name, err)
		}
		if err := p.layTree(path.Join(at, node.Name), d, dirs); err != nil {
			return err
		}
	}
	return nil
}

func (p *plan) addFile(name string, d digest.Digest, executable bool, properties properties) error {
	if err := p.enter(name); err != nil {
		return err
	}
	if p.files[d] == nil {
		p.order = append(p.order, d)
		p.bytes += d.Size
	}
	p.files[d] = append(p.files[d], plannedFile{name, executable, properties})
	return nil
}

func (p *plan) addLink(name, target string) error {
	if target == "" || strings.ContainsRune(target, 0) {
		return fmt.Errorf("%w: symbolic link %q has the target %q", ErrMalformed, name, target)
	}
	p.links = append(p.links, plannedLink{name, target})
	return p.enter(name)
}

// checkNames refuses what a Directory must not hold (REAPI, Directory): names of
// more than one segment, and one name twice.
func checkNames(d digest.Digest, dir *repb.Directory) error {
	seen := make(map[string]bool, len(dir.Files)+len(dir.Directories)+len(dir.Symlinks))
	check := func(name string) error {
		switch {
		case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
			return fmt.Errorf("%w: directory %s has an entry named %q", ErrMalformed, d, name)
		case seen[name]:
			return fmt.Errorf("%w: directory %s has two entries named %q", ErrMalformed, d, name)
		}
		seen[name] = true
		return nil
	}
	for _, f := range dir.Files {
		if err := check(f.Name); err != nil {
			return err
		}
	}
	for _, n := range dir.Directories {
		if err := check(n.Name); err != nil {
			return err
		}
	}
	for _, l := range dir.Symlinks {
		if err := check(l.Name); err != nil {
			return err
		}
	}
	return nil
}
