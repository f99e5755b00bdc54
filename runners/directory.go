package runners

import (
	"fmt"
	"strings"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// directory is a parsed and validated Directory. It is shared between actions
// and never changed.
type directory struct {
	files []fileNode
	dirs  []dirNode
	links []linkNode
	props props
	mark  mark
	cost  int64 // estimate of the memory it takes, bytes
}

type fileNode struct {
	name       string
	digest     digest.Digest
	executable bool
	props      props
}

type dirNode struct {
	name   string
	digest digest.Digest
}

type linkNode struct {
	name, target string
	props        props
}

// props are the node properties of any node that have a meaning here: mtime and
// unix_mode. Of the named ones a directory's mark has one; others are carried by
// clients for other servers and ignored.
type props struct {
	mtime   time.Time // zero: not given
	mode    uint32
	hasMode bool
}

// maxName is the longest file name in bytes that the file systems take.
const maxName = 255

// parseDirectory reads the Directory with digest d from data. What breaks the
// rules (REAPI, Directory) is a *Failure with INVALID_ARGUMENT; the order of the
// entries is not one of them here, as it does no harm.
func parseDirectory(d digest.Digest, data []byte) (*directory, error) {
	var p repb.Directory
	if err := proto.Unmarshal(data, &p); err != nil {
		return nil, Invalid("input directory %s is not a Directory message", d)
	}
	dir := &directory{
		files: make([]fileNode, 0, len(p.Files)),
		dirs:  make([]dirNode, 0, len(p.Directories)),
		links: make([]linkNode, 0, len(p.Symlinks)),
		mark:  markOf(p.NodeProperties),
		cost:  int64(300 + 2*len(data)),
	}
	names := newNameSet(len(p.Files) + len(p.Directories) + len(p.Symlinks))
	var err error
	if dir.props, err = parseProps(p.NodeProperties); err != nil {
		return nil, Invalid("input directory %s: %v", d, err)
	}
	for _, f := range p.Files {
		n := fileNode{name: f.GetName(), executable: f.GetIsExecutable()}
		if err := names.add(n.name); err != nil {
			return nil, Invalid("input directory %s: %v", d, err)
		}
		if n.digest, err = digest.FromProto(d.Function, f.GetDigest()); err != nil {
			return nil, Invalid("input directory %s: file %q: %v", d, n.name, err)
		}
		if n.props, err = parseProps(f.GetNodeProperties()); err != nil {
			return nil, Invalid("input directory %s: file %q: %v", d, n.name, err)
		}
		dir.files = append(dir.files, n)
		dir.cost += 130
	}
	for _, sub := range p.Directories {
		n := dirNode{name: sub.GetName()}
		if err := names.add(n.name); err != nil {
			return nil, Invalid("input directory %s: %v", d, err)
		}
		if n.digest, err = digest.FromProto(d.Function, sub.GetDigest()); err != nil {
			return nil, Invalid("input directory %s: directory %q: %v", d, n.name, err)
		}
		dir.dirs = append(dir.dirs, n)
		dir.cost += 70
	}
	for _, l := range p.Symlinks {
		n := linkNode{name: l.GetName(), target: l.GetTarget()}
		if err := names.add(n.name); err != nil {
			return nil, Invalid("input directory %s: %v", d, err)
		}
		if err := checkTarget(n.target); err != nil {
			return nil, Invalid("input directory %s: symlink %q: %v", d, n.name, err)
		}
		if n.props, err = parseProps(l.GetNodeProperties()); err != nil {
			return nil, Invalid("input directory %s: symlink %q: %v", d, n.name, err)
		}
		dir.links = append(dir.links, n)
		dir.cost += 90
	}
	return dir, nil
}

// nameSet refuses the same name twice, whatever kinds the entries are of.
type nameSet struct {
	seen map[string]struct{} // nil: there is one entry only
}

func newNameSet(entries int) *nameSet {
	s := &nameSet{}
	if entries > 1 {
		s.seen = make(map[string]struct{}, entries)
	}
	return s
}

func (s *nameSet) add(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if s.seen == nil {
		return nil
	}
	if _, twice := s.seen[name]; twice {
		return fmt.Errorf("the name %q is there twice", name)
	}
	s.seen[name] = struct{}{}
	return nil
}

// checkName takes a single path component only: whatever else would lay a file
// somewhere else.
func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("an entry has no name")
	case name == "." || name == "..":
		return fmt.Errorf("the name %q is not allowed", name)
	case strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("the name %q has a slash or a zero byte in it", name)
	case len(name) > maxName:
		return fmt.Errorf("the name %q... is longer than %d bytes", name[:40], maxName)
	}
	return nil
}

func checkTarget(target string) error {
	switch {
	case target == "":
		return fmt.Errorf("its target is empty")
	case strings.IndexByte(target, 0) >= 0:
		return fmt.Errorf("its target has a zero byte in it")
	case len(target) > maxPath:
		return fmt.Errorf("its target is longer than %d bytes", maxPath)
	}
	return nil
}

func parseProps(p *repb.NodeProperties) (props, error) {
	var out props
	if p == nil {
		return out, nil
	}
	if t := p.Mtime; t != nil {
		if err := t.CheckValid(); err != nil {
			return out, fmt.Errorf("node property mtime: %w", err)
		}
		out.mtime = t.AsTime()
	}
	if m := p.UnixMode; m != nil {
		out.mode, out.hasMode = m.Value, true
	}
	return out, nil
}
