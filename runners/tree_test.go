package runners

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// treeBlobs is as much of Blobs as loading a tree needs.
type treeBlobs map[digest.Digest][]byte

func (b treeBlobs) GetMany(_ context.Context, ds []digest.Digest) ([][]byte, error) {
	var out [][]byte
	for _, d := range ds {
		data, ok := b[d]
		if !ok {
			return nil, &MissingError{Digests: []digest.Digest{d}}
		}
		out = append(out, data)
	}
	return out, nil
}

func (b treeBlobs) Open(context.Context, digest.Digest) (io.ReadCloser, error) { panic("not used") }
func (b treeBlobs) PutMany(context.Context, []Blob) error                      { panic("not used") }
func (b treeBlobs) Upload(context.Context, digest.Digest, func() (io.ReadCloser, error)) error {
	panic("not used")
}

func (b treeBlobs) add(t *testing.T, d *repb.Directory) *repb.Digest {
	t.Helper()
	data, err := proto.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	key := digest.Of(digest.SHA256, data)
	b[key] = data
	return key.Proto()
}

func (b treeBlobs) load(t *testing.T, d *repb.Digest) (*inputTree, error) {
	t.Helper()
	w := &Worker{blobs: b, dirs: newLRU[digest.Digest, *directory](parsedBytes, nil)}
	key, err := digest.FromProto(digest.SHA256, d)
	if err != nil {
		t.Fatal(err)
	}
	root, err := parseDirectory(key, b[key])
	if err != nil {
		t.Fatal(err)
	}
	return w.loadTree(context.Background(), root)
}

// TestMessagesThatBlowUpAreRefused has few directories that stand for very many.
func TestMessagesThatBlowUpAreRefused(t *testing.T) {
	b := treeBlobs{}
	at := empty.Proto()
	for range 40 { // 2^40 paths
		at = b.add(t, &repb.Directory{Directories: []*repb.DirectoryNode{{Name: "a", Digest: at}, {Name: "b", Digest: at}}})
	}
	if _, err := b.load(t, at); err == nil || !strings.Contains(err.Error(), "entries") {
		t.Errorf("a tree of 2^40 paths: %v", err)
	}
	at = empty.Proto()
	for range maxDepth + 10 {
		at = b.add(t, &repb.Directory{Directories: []*repb.DirectoryNode{{Name: "a", Digest: at}}})
	}
	if _, err := b.load(t, at); err == nil || !strings.Contains(err.Error(), "deeper") {
		t.Errorf("a tree that nests too deep: %v", err)
	}
	huge := &repb.Digest{Hash: empty.Hex(), SizeBytes: maxTreeBytes + 1}
	if _, err := b.load(t, b.add(t, &repb.Directory{Directories: []*repb.DirectoryNode{{Name: "a", Digest: huge}}})); err == nil || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("a tree of too many bytes: %v", err)
	}
}

func TestSharedDirectoriesAreFetchedOnceAndFoundEverywhere(t *testing.T) {
	b := treeBlobs{}
	leaf := b.add(t, &repb.Directory{Files: []*repb.FileNode{{Name: "f", Digest: empty.Proto()}}})
	var subs []*repb.DirectoryNode
	for i := range 300 { // more than one batch
		mid := b.add(t, &repb.Directory{Directories: []*repb.DirectoryNode{{Name: fmt.Sprint(i), Digest: leaf}, {Name: "none", Digest: empty.Proto()}}})
		subs = append(subs, &repb.DirectoryNode{Name: fmt.Sprint("s", i), Digest: mid})
	}
	tree, err := b.load(t, b.add(t, &repb.Directory{Directories: subs}))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range tree.root.dirs {
		mid := tree.dirs[s.digest]
		if len(mid.dirs) != 2 || len(tree.dirs[mid.dirs[0].digest].files) != 1 || tree.dirs[mid.dirs[1].digest] != emptyDirectory {
			t.Fatalf("below %s: %+v", s.name, mid)
		}
	}
}
