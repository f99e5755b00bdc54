package actioncache

import (
	"fmt"
	"strconv"
	"strings"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// parseDirectory reads and checks a Directory (REAPI, Directory). The order of
// its lists is not enforced: it changes the digest, not the meaning, and clients
// in use do not all sort. The error says which rule is broken; the caller adds
// where.
func parseDirectory(fn digest.Function, data []byte) (*node, error) {
	var d repb.Directory
	if err := proto.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("not a Directory: %w", err)
	}
	return directoryNode(fn, &d)
}

func directoryNode(fn digest.Function, d *repb.Directory) (*node, error) {
	n := &node{}
	if c := len(d.GetFiles()); c > 0 {
		n.files = make([]digest.Digest, 0, c)
	}
	for _, f := range d.GetFiles() {
		if err := checkName(f.GetName()); err != nil {
			return nil, fmt.Errorf("file %s: %w", shorten(f.GetName()), err)
		}
		fd, err := digest.FromProto(fn, f.GetDigest())
		if err != nil {
			return nil, fmt.Errorf("file %s: %w", shorten(f.GetName()), err)
		}
		n.files = append(n.files, fd)
	}
	for _, c := range d.GetDirectories() {
		if err := checkName(c.GetName()); err != nil {
			return nil, fmt.Errorf("directory %s: %w", shorten(c.GetName()), err)
		}
		cd, err := digest.FromProto(fn, c.GetDigest())
		if err != nil {
			return nil, fmt.Errorf("directory %s: %w", shorten(c.GetName()), err)
		}
		n.dirs = append(n.dirs, child{name: c.GetName(), digest: cd})
	}
	for _, l := range d.GetSymlinks() {
		if err := checkSymlink(l); err != nil {
			return nil, fmt.Errorf("symlink %s: %w", shorten(l.GetName()), err)
		}
	}
	if name, twice := repeatedName(d); twice {
		return nil, fmt.Errorf("the name %s is there twice", shorten(name))
	}
	return n, nil
}

func checkSymlink(l *repb.SymlinkNode) error {
	if err := checkName(l.GetName()); err != nil {
		return err
	}
	if l.GetTarget() == "" || strings.IndexByte(l.GetTarget(), 0) >= 0 {
		return fmt.Errorf("the target %s is empty or has a NUL byte in it", shorten(l.GetTarget()))
	}
	return nil
}

// maxName bounds a name in bytes, as Linux does.
const maxName = 255

// checkName says what is wrong with the name of something in a directory.
func checkName(name string) error {
	rule := ""
	switch {
	case name == "":
		rule = "a name must not be empty"
	case name == "." || name == "..":
		rule = "a name must not be . or .."
	case strings.ContainsAny(name, "/\x00"):
		rule = "a name must not have a slash or a NUL byte in it"
	case len(name) > maxName:
		rule = fmt.Sprintf("a name must not be longer than %d bytes", maxName)
	default:
		return nil
	}
	return fmt.Errorf("%s", rule)
}

// repeatedName returns a name that is there twice, among files, directories and
// symlinks together. Sorted lists, which are the rule, cost no memory.
func repeatedName(d *repb.Directory) (string, bool) {
	files, dirs, links := d.GetFiles(), d.GetDirectories(), d.GetSymlinks()
	total := len(files) + len(dirs) + len(links)
	name := func(i int) string {
		switch {
		case i < len(files):
			return files[i].GetName()
		case i < len(files)+len(dirs):
			return dirs[i-len(files)].GetName()
		}
		return links[i-len(files)-len(dirs)].GetName()
	}
	if total < 2 {
		return "", false
	}
	if len(files) == total || len(dirs) == total || len(links) == total {
		i := 1
		for i < total && name(i-1) < name(i) {
			i++
		}
		if i == total {
			return "", false
		}
	}
	seen := make(map[string]struct{}, total)
	for i := range total {
		if _, twice := seen[name(i)]; twice {
			return name(i), true
		}
		seen[name(i)] = struct{}{}
	}
	return "", false
}

// shorten quotes what a client sent for an error message.
func shorten(s string) string {
	const most = 100
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}
