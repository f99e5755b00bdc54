package images

import (
	"maps"
	"slices"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// fold encodes a directory and all beneath it as canonical Directory messages (REAPI,
// Directory: each list sorted by name), equal to those of client.ReadDir over the
// same tree on a disk. It returns the digest, and the messages after those that they
// name.
func fold(fn digest.Function, dir *node, all []client.Source) (digest.Digest, []client.Source, error) {
	m := &repb.Directory{}
	for _, name := range slices.Sorted(maps.Keys(dir.children)) {
		switch n := dir.children[name]; n.kind {
		case dirKind:
			d, more, err := fold(fn, n, all)
			if err != nil {
				return d, nil, err
			}
			all = more
			m.Directories = append(m.Directories, &repb.DirectoryNode{Name: name, Digest: d.Proto()})
		case fileKind:
			m.Files = append(m.Files, &repb.FileNode{Name: name, Digest: n.content.digest.Proto(), IsExecutable: n.content.perm&0o111 != 0})
		case linkKind:
			m.Symlinks = append(m.Symlinks, &repb.SymlinkNode{Name: name, Target: n.target})
		}
	}
	s, err := client.MessageSource(fn, m)
	return s.Digest, append(all, s), err
}
