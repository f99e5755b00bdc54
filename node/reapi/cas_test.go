package reapi

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// wantInvalid checks for INVALID_ARGUMENT that names what is wrong.
func wantInvalid(t *testing.T, err error, text string) {
	t.Helper()
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want INVALID_ARGUMENT with %q", err, text)
	}
}

func TestFindMissingListsEachAbsentDigestOnce(t *testing.T) {
	g := newGrid(t)
	here := g.put(t, []byte("here"), noise(3<<20, 1))
	gone, other := digest.Of(digest.SHA256, []byte("gone")), digest.Of(digest.SHA256, []byte("other"))
	wrongSize := &repb.Digest{Hash: here[0].Hex(), SizeBytes: 5}
	reply, err := g.cas.FindMissingBlobs(t.Context(), &repb.FindMissingBlobsRequest{InstanceName: "main",
		DigestFunction: repb.DigestFunction_SHA256, BlobDigests: []*repb.Digest{
			here[0].Proto(), gone.Proto(), {}, here[1].Proto(), other.Proto(), gone.Proto(), digest.SHA256.Empty().Proto(), wrongSize,
		}})
	if err != nil {
		t.Fatal(err)
	}
	want := []*repb.Digest{gone.Proto(), other.Proto(), wrongSize}
	if diff := cmp.Diff(want, reply.GetMissingBlobDigests(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestMalformedDigestsAreRefused(t *testing.T) {
	g := newGrid(t)
	hash := digest.Of(digest.SHA256, []byte("x")).Hex()
	for name, c := range map[string]struct {
		digest  *repb.Digest
		message string
	}{
		"short":         {&repb.Digest{Hash: "00", SizeBytes: 1}, "blob_digests[1]: invalid digest: hash \"00\" has 2 characters"},
		"upper case":    {&repb.Digest{Hash: strings.ToUpper(hash), SizeBytes: 1}, "not lower-case hexadecimal"},
		"no hex":        {&repb.Digest{Hash: "g" + hash[1:], SizeBytes: 1}, "not lower-case hexadecimal"},
		"negative size": {&repb.Digest{Hash: hash, SizeBytes: -1}, "size -1 is negative"},
		"size 0":        {&repb.Digest{Hash: hash}, "size 0 belongs to the empty blob"},
		"empty hash":    {&repb.Digest{SizeBytes: 3}, "has 0 characters"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := g.cas.FindMissingBlobs(t.Context(), &repb.FindMissingBlobsRequest{InstanceName: "main",
				BlobDigests: []*repb.Digest{{}, c.digest}})
			wantInvalid(t, err, c.message)
		})
	}
}

func TestBatchUpdateTellsEachBlobsFate(t *testing.T) {
	g := newGrid(t)
	good, big := []byte("good"), noise(100_000, 2)
	d := func(data []byte) *repb.Digest { return digest.Of(digest.SHA256, data).Proto() }
	requests := []*repb.BatchUpdateBlobsRequest_Request{
		{Digest: d(good), Data: good},
		{Digest: d([]byte("another")), Data: []byte("Another")},
		{Digest: d(big), Data: big},
		{Digest: &repb.Digest{Hash: "zz", SizeBytes: 2}, Data: []byte("zz")},
		{Data: []byte("no digest")},
		{Digest: d(good), Data: good},
		{Digest: d(good), Data: good, Compressor: repb.Compressor_ZSTD},
		{Digest: &repb.Digest{}},
		{Digest: d(good), Data: []byte("goods")},
	}
	want := []codes.Code{codes.OK, codes.InvalidArgument, codes.OK, codes.InvalidArgument, codes.InvalidArgument,
		codes.OK, codes.InvalidArgument, codes.OK, codes.InvalidArgument}
	reply, err := g.cas.BatchUpdateBlobs(t.Context(), &repb.BatchUpdateBlobsRequest{InstanceName: "main", Requests: requests})
	if err != nil {
		t.Fatal(err)
	}
	if len(reply.GetResponses()) != len(want) {
		t.Fatalf("%d responses", len(reply.GetResponses()))
	}
	for i, r := range reply.GetResponses() {
		sent := requests[i].GetDigest()
		if sent == nil {
			sent = &repb.Digest{}
		}
		if diff := cmp.Diff(sent, r.GetDigest(), protocmp.Transform()); diff != "" {
			t.Errorf("%d: %s", i, diff)
		}
		if codes.Code(r.GetStatus().GetCode()) != want[i] {
			t.Errorf("%d: got %v", i, r.GetStatus())
		}
	}
	if message := reply.GetResponses()[1].GetStatus().GetMessage(); message != "Data does not match hash" {
		t.Errorf("a mismatch: %q", message)
	}
	if data, err := g.store.Get(t.Context(), digest.Of(digest.SHA256, big)); err != nil || !bytes.Equal(data, big) {
		t.Errorf("stored %d bytes, %v", len(data), err)
	}
	if ok, _ := g.store.Present(t.Context(), digest.Of(digest.SHA256, []byte("another"))); ok {
		t.Error("data that does not match was stored")
	}
}

func TestBatchesAreBounded(t *testing.T) {
	g := newGrid(t)
	half := noise(2<<20-1000, 3)
	d := digest.Of(digest.SHA256, half).Proto()
	request := &repb.BatchUpdateBlobsRequest_Request{Digest: d, Data: half}
	_, err := g.cas.BatchUpdateBlobs(t.Context(), &repb.BatchUpdateBlobsRequest{InstanceName: "main",
		Requests: []*repb.BatchUpdateBlobsRequest_Request{request, request}})
	if err != nil {
		t.Errorf("just below the limit: %v", err)
	}
	tight := noise(2<<20-300, 4)
	request = &repb.BatchUpdateBlobsRequest_Request{Digest: digest.Of(digest.SHA256, tight).Proto(), Data: tight}
	_, err = g.cas.BatchUpdateBlobs(t.Context(), &repb.BatchUpdateBlobsRequest{InstanceName: "main",
		Requests: []*repb.BatchUpdateBlobsRequest_Request{request, request}})
	wantInvalid(t, err, "use ByteStream")
	request = &repb.BatchUpdateBlobsRequest_Request{Digest: d, Data: make([]byte, 5<<20)}
	_, err = g.cas.BatchUpdateBlobs(t.Context(), &repb.BatchUpdateBlobsRequest{InstanceName: "main",
		Requests: []*repb.BatchUpdateBlobsRequest_Request{request}})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message of 5 MiB: %v", err)
	}
	_, err = g.cas.BatchReadBlobs(t.Context(), &repb.BatchReadBlobsRequest{InstanceName: "main", Digests: []*repb.Digest{d, d, d}})
	wantInvalid(t, err, "use ByteStream")
	huge := &repb.Digest{Hash: d.GetHash(), SizeBytes: 1<<63 - 1}
	_, err = g.cas.BatchReadBlobs(t.Context(), &repb.BatchReadBlobsRequest{InstanceName: "main", Digests: []*repb.Digest{huge, huge}})
	wantInvalid(t, err, "use ByteStream")
	many := make([]*repb.Digest, maxDigests+1)
	for i := range many {
		many[i] = &repb.Digest{}
	}
	_, err = g.cas.FindMissingBlobs(t.Context(), &repb.FindMissingBlobsRequest{InstanceName: "main", BlobDigests: many})
	wantInvalid(t, err, "more than 65536 digests")
}

func TestBatchReadTellsEachBlobsFate(t *testing.T) {
	g := newGrid(t)
	small, large, pieces := []byte("small"), noise(200_000, 5), noise(2<<20+5, 6)
	ds := g.put(t, small, large, pieces)
	gone := digest.Of(digest.SHA256, []byte("gone"))
	reply, err := g.cas.BatchReadBlobs(t.Context(), &repb.BatchReadBlobsRequest{InstanceName: "main",
		AcceptableCompressors: []repb.Compressor_Value{repb.Compressor_ZSTD},
		Digests: []*repb.Digest{ds[0].Proto(), ds[1].Proto(), gone.Proto(), {Hash: "x", SizeBytes: 1}, {},
			ds[2].Proto(), ds[0].Proto(), {Hash: ds[0].Hex(), SizeBytes: 6}}})
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		data []byte
		code codes.Code
	}{{small, 0}, {large, 0}, {nil, codes.NotFound}, {nil, codes.InvalidArgument}, {nil, 0}, {pieces, 0}, {small, 0}, {nil, codes.NotFound}}
	if len(reply.GetResponses()) != len(want) {
		t.Fatalf("%d responses", len(reply.GetResponses()))
	}
	for i, r := range reply.GetResponses() {
		if !bytes.Equal(r.GetData(), want[i].data) || codes.Code(r.GetStatus().GetCode()) != want[i].code || r.GetStatus() == nil {
			t.Errorf("%d: %d bytes, %v", i, len(r.GetData()), r.GetStatus())
		}
	}
}

// treeOf stores a chain of three directories with the leaf directory used twice.
func treeOf(t testing.TB, g *grid) (root digest.Digest, all []*repb.Directory) {
	t.Helper()
	leaf := &repb.Directory{Symlinks: []*repb.SymlinkNode{{Name: "l", Target: "/abs"}}}
	l := g.message(t, leaf).Proto()
	var middle []*repb.Directory
	top := &repb.Directory{}
	for i := range 3 {
		m := &repb.Directory{Directories: []*repb.DirectoryNode{{Name: "leaf", Digest: l}, {Name: fmt.Sprint("x", i), Digest: l}}}
		top.Directories = append(top.Directories, &repb.DirectoryNode{Name: fmt.Sprint(i), Digest: g.message(t, m).Proto()})
		middle = append(middle, m)
	}
	return g.message(t, top), append(append([]*repb.Directory{top}, middle...), leaf)
}

// getTree returns the directories of one call and the last token.
func getTree(t *testing.T, g *grid, req *repb.GetTreeRequest) (dirs []*repb.Directory, token string, err error) {
	t.Helper()
	req.InstanceName = "main"
	stream, err := g.cas.GetTree(t.Context(), req)
	if err != nil {
		return nil, "", err
	}
	for {
		reply, err := stream.Recv()
		if err != nil {
			if err.Error() == "EOF" {
				err = nil
			}
			return dirs, token, err
		}
		dirs, token = append(dirs, reply.GetDirectories()...), reply.GetNextPageToken()
	}
}

func TestGetTreeIsBreadthFirstAndPaged(t *testing.T) {
	g := newGrid(t)
	root, want := treeOf(t, g)
	all, token, err := getTree(t, g, &repb.GetTreeRequest{RootDigest: root.Proto()})
	if err != nil || token != "" {
		t.Fatalf("token %q, %v", token, err)
	}
	if diff := cmp.Diff(want, all, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	for size := int32(1); size <= 6; size++ {
		var paged []*repb.Directory
		token, calls := "", 0
		for {
			var page []*repb.Directory
			page, token, err = getTree(t, g, &repb.GetTreeRequest{RootDigest: root.Proto(), PageSize: size, PageToken: token})
			if err != nil || len(page) > int(size) {
				t.Fatalf("a page of %d with %d, %v", size, len(page), err)
			}
			paged = append(paged, page...)
			if calls++; token == "" || calls > 9 {
				break
			}
		}
		if diff := cmp.Diff(want, paged, protocmp.Transform()); diff != "" {
			t.Errorf("pages of %d: %s", size, diff)
		}
	}
}

func TestGetTreeErrors(t *testing.T) {
	g := newGrid(t)
	root, _ := treeOf(t, g)
	other := g.put(t, []byte("\xff no directory"))[0]
	gone := digest.Of(digest.SHA256, []byte("gone"))
	dir := func(children ...*repb.Digest) digest.Digest {
		d := &repb.Directory{}
		for i, c := range children {
			d.Directories = append(d.Directories, &repb.DirectoryNode{Name: fmt.Sprint(i), Digest: c})
		}
		return g.message(t, d)
	}
	partial, _, err := getTree(t, g, &repb.GetTreeRequest{RootDigest: dir(gone.Proto(), root.Proto()).Proto()})
	if err != nil || len(partial) != 6 {
		t.Errorf("a missing child is left out: %d directories, %v", len(partial), err)
	}
	empty, _, err := getTree(t, g, &repb.GetTreeRequest{RootDigest: digest.SHA256.Empty().Proto()})
	if err != nil || len(empty) != 1 {
		t.Errorf("the empty root: %d directories, %v", len(empty), err)
	}
	_, token, _ := getTree(t, g, &repb.GetTreeRequest{RootDigest: root.Proto(), PageSize: 1})
	for name, c := range map[string]struct {
		req  *repb.GetTreeRequest
		code codes.Code
		text string
	}{
		"a missing root":         {&repb.GetTreeRequest{RootDigest: gone.Proto()}, codes.NotFound, gone.String()},
		"no root":                {&repb.GetTreeRequest{}, codes.InvalidArgument, "root_digest"},
		"a root of another kind": {&repb.GetTreeRequest{RootDigest: other.Proto()}, codes.InvalidArgument, "root_digest"},
		"a child of another kind": {&repb.GetTreeRequest{RootDigest: dir(other.Proto()).Proto()},
			codes.FailedPrecondition, "not a Directory"},
		"a child without digest": {&repb.GetTreeRequest{RootDigest: dir(nil).Proto()}, codes.InvalidArgument, "digest is not set"},
		"a negative page":        {&repb.GetTreeRequest{RootDigest: root.Proto(), PageSize: -1}, codes.InvalidArgument, "page_size"},
		"a bad token":            {&repb.GetTreeRequest{RootDigest: root.Proto(), PageToken: "??"}, codes.InvalidArgument, "page_token"},
		"another root's token": {&repb.GetTreeRequest{RootDigest: dir(root.Proto()).Proto(), PageToken: token},
			codes.InvalidArgument, "page_token"},
		"a huge child": {&repb.GetTreeRequest{RootDigest: dir(&repb.Digest{Hash: gone.Hex(), SizeBytes: 1 << 40}).Proto()},
			codes.FailedPrecondition, "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := getTree(t, g, c.req)
			if status.Code(err) != c.code || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %v with %q", err, c.code, c.text)
			}
		})
	}
}

func TestALargeTreeComesInSeveralMessages(t *testing.T) {
	g := newGrid(t)
	top := &repb.Directory{}
	data := make([][]byte, 0, 2500)
	for i := range cap(data) {
		child := fmt.Appendf(nil, "\x1a\x0b\x0a\x06l%05d\x12\x01t", i) // one symlink
		data = append(data, child)
		top.Directories = append(top.Directories, &repb.DirectoryNode{Name: fmt.Sprint(i), Digest: digest.Of(digest.SHA256, child).Proto()})
	}
	g.put(t, data...)
	dirs, token, err := getTree(t, g, &repb.GetTreeRequest{RootDigest: g.message(t, top).Proto()})
	if err != nil || token != "" || len(dirs) != 2501 {
		t.Fatalf("%d directories, %q, %v", len(dirs), token, err)
	}
	if last := dirs[2500].GetSymlinks()[0].GetName(); last != "l02499" {
		t.Errorf("the last is %s", last)
	}
}
