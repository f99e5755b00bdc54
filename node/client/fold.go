package client

import (
	"fmt"
	"maps"
	"slices"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// fold encodes dir and all beneath it as canonical Directory messages (REAPI,
// Directory: each list sorted by name) and returns its digest.
func (t *Tree) fold(fn digest.Function, dir *dirNode) (digest.Digest, error) {
	m := &repb.Directory{}
	for _, name := range slices.Sorted(maps.Keys(dir.files)) {
		f := dir.files[name]
		m.Files = append(m.Files, &repb.FileNode{Name: name, Digest: f.source.Digest.Proto(), IsExecutable: f.executable})
	}
	for _, name := range slices.Sorted(maps.Keys(dir.dirs)) {
		d, err := t.fold(fn, dir.dirs[name])
		if err != nil {
			return digest.Digest{}, err
		}
		m.Directories = append(m.Directories, &repb.DirectoryNode{Name: name, Digest: d.Proto()})
	}
	for _, name := range slices.Sorted(maps.Keys(dir.links)) {
		m.Symlinks = append(m.Symlinks, &repb.SymlinkNode{Name: name, Target: dir.links[name]})
	}
	s, err := MessageSource(fn, m)
	if err != nil {
		return digest.Digest{}, err
	}
	t.Directories++
	t.Sources = append(t.Sources, s)
	return s.Digest, nil
}

// MessageSource encodes a message deterministically as a blob.
func MessageSource(fn digest.Function, m proto.Message) (Source, error) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return Source{}, fmt.Errorf("encode %s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	return Blob(fn, data), nil
}
