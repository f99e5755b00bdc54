package reapi

import (
	"testing"
	"unicode/utf8"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// clientsFault tells whether an answer blames the client, or nobody.
func clientsFault(err error) bool {
	switch status.Code(err) {
	case codes.OK, codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition, codes.OutOfRange:
		return true
	}
	return false
}

// FuzzTrees has any bytes as a Directory, the root of a tree and of an input root,
// beside good ones, and any page token.
func FuzzTrees(f *testing.F) {
	leaf, err := proto.Marshal(&repb.Directory{Symlinks: []*repb.SymlinkNode{{Name: "sh", Target: "/abs"}}})
	if err != nil {
		f.Fatal(err)
	}
	d := digest.Of(digest.SHA256, leaf)
	for _, name := range []string{"bin", "usr", ".."} {
		top, err := proto.Marshal(&repb.Directory{
			Directories: []*repb.DirectoryNode{{Name: name, Digest: d.Proto()}},
			Symlinks:    []*repb.SymlinkNode{{Name: "lib", Target: "../" + name}},
		})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(top, treeToken(digest.Of(digest.SHA256, top), 1))
	}
	f.Add([]byte("\x12\x02\x0a\x00"), "")
	f.Fuzz(func(t *testing.T, data []byte, token string) {
		b := &execBlobs{data: make(map[digest.Digest][]byte)}
		b.put(leaf)
		root := b.put(data)
		if _, err := parseTreeToken(token, root); !clientsFault(err) {
			t.Error(err)
		}
		scan := treeScan{store: b, root: root, queue: []digest.Digest{root}, seen: map[digest.Digest]struct{}{root: {}}}
		seen := 0
		err := scan.walk(t.Context(), func(*repb.Directory, int64) (bool, error) { seen++; return true, nil })
		if !clientsFault(err) || seen > 3 {
			t.Errorf("%d directories, %v", seen, err)
		}
		a := actions{blobs: b}
		if _, err := a.isRootFS(t.Context(), &parsedAction{inputRoot: root, program: "/lib/" + token}); !clientsFault(err) {
			t.Error(err)
		}
	})
}

// FuzzResourceNames asks every method of ByteStream for any name.
func FuzzResourceNames(f *testing.F) {
	g := newGrid(f)
	d := g.put(f, []byte("here"))[0]
	id := "4d3f5b0e-8a4e-4c3f-9a55-0d7ac3fdd4a1"
	for _, name := range []string{
		digest.ReadName("main", d), digest.UploadName("main", id, d) + "/x", "main/compressed-blobs/zstd/" + d.String(), "/", "main/uploads/" + id,
	} {
		f.Add(name, int64(0), []byte("here"))
	}
	f.Fuzz(func(t *testing.T, name string, offset int64, data []byte) {
		if !utf8.ValidString(name) {
			return // it does not leave the client
		}
		_, _, err := readAll(t.Context(), g.bytes, &bspb.ReadRequest{ResourceName: name, ReadOffset: offset})
		_, writeErr := writeAll(t.Context(), g.bytes, true, &bspb.WriteRequest{ResourceName: name, WriteOffset: offset, Data: data})
		_, queryErr := g.bytes.QueryWriteStatus(t.Context(), &bspb.QueryWriteStatusRequest{ResourceName: name})
		for _, err := range []error{err, writeErr, queryErr} {
			if !clientsFault(err) {
				t.Errorf("%q: %v", name, err)
			}
		}
	})
}
