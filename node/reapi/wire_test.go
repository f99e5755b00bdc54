package reapi

import (
	"bytes"
	"slices"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// cutUp spreads bytes over several buffers, as they come from a connection.
func cutUp(data []byte, step int) (s mem.BufferSlice) {
	for len(data) > 0 {
		n := min(step, len(data))
		s = append(s, mem.SliceBuffer(data[:n]))
		data = data[n:]
	}
	return s
}

// protosOf turns digests as they were read into messages.
func protosOf(raw []rawDigest) (list []*repb.Digest) {
	for _, r := range raw {
		list = append(list, r.proto())
	}
	return list
}

func (r *rawDigest) proto() *repb.Digest {
	if !r.set {
		return nil
	}
	return &repb.Digest{Hash: string(r.hash), SizeBytes: r.size}
}

func genDigest(t *rapid.T) *repb.Digest {
	return &repb.Digest{
		Hash:      rapid.OneOf(rapid.StringMatching(`[0-9a-f]{64}`), rapid.StringN(0, 70, -1)).Draw(t, "hash"),
		SizeBytes: rapid.OneOf(rapid.Int64Range(0, 1<<40), rapid.Int64()).Draw(t, "size"),
	}
}

// TestMessagesOfOurOwnAreProtobuf: what protobuf writes is read alike, and the
// other way round.
func TestMessagesOfOurOwnAreProtobuf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		step := rapid.IntRange(1, 300).Draw(t, "step")
		digests := rapid.SliceOfN(rapid.Custom(genDigest), 0, 5).Draw(t, "digests")
		instance := rapid.StringN(0, 20, -1).Draw(t, "instance")
		fn := repb.DigestFunction_Value(rapid.Int32().Draw(t, "function"))
		read := func(m proto.Message, into wireReader) {
			wire, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			wire = append(wire, 0x98, 0x06, 0x01, 0x9d, 0x06, 1, 2, 3, 4, 0xa1, 0x06, 1, 2, 3, 4, 5, 6, 7, 8, 0xa2, 0x06, 1, 'x') // unknown fields
			if err := into.readWire(cutUp(wire, step), mem.DefaultBufferPool()); err != nil {
				t.Fatal(err)
			}
		}
		same := func(want, got proto.Message) {
			if diff := cmp.Diff(want, got, protocmp.Transform(), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		}

		find := &repb.FindMissingBlobsRequest{InstanceName: instance, BlobDigests: digests, DigestFunction: fn}
		var f findRequest
		read(find, &f)
		same(find, &repb.FindMissingBlobsRequest{InstanceName: f.instance, BlobDigests: protosOf(f.digests), DigestFunction: f.function})

		batch := &repb.BatchReadBlobsRequest{InstanceName: instance, Digests: digests, DigestFunction: fn}
		var r readRequest
		read(batch, &r)
		same(batch, &repb.BatchReadBlobsRequest{InstanceName: r.instance, Digests: protosOf(r.digests), DigestFunction: r.function})

		update := &repb.BatchUpdateBlobsRequest{InstanceName: instance, DigestFunction: fn}
		for _, d := range digests {
			update.Requests = append(update.Requests, &repb.BatchUpdateBlobsRequest_Request{Digest: d, Data: []byte(d.Hash),
				Compressor: repb.Compressor_Value(d.SizeBytes & 3)})
		}
		var u updateRequest
		read(update, &u)
		back := &repb.BatchUpdateBlobsRequest{InstanceName: u.instance, DigestFunction: u.function}
		for _, b := range u.blobs {
			back.Requests = append(back.Requests, &repb.BatchUpdateBlobsRequest_Request{Digest: b.digest.proto(), Data: b.data, Compressor: b.compressor})
		}
		same(update, back)

		write := &bspb.WriteRequest{ResourceName: instance, WriteOffset: int64(fn), FinishWrite: step > 150, Data: bytes.Repeat([]byte("data"), step)}
		var w writeChunk
		read(write, &w)
		same(write, &bspb.WriteRequest{ResourceName: w.name, WriteOffset: w.offset, FinishWrite: w.finish, Data: bytes.Join(w.data, nil)})
		if w.size != len(write.Data) {
			t.Errorf("%d bytes of %d", w.size, len(write.Data))
		}
	})
}

func TestAnswersOfOurOwnAreProtobuf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		digests := rapid.SliceOfN(rapid.Custom(genDigest), 0, 5).Draw(t, "digests")
		parse := func(m wireWriter, into proto.Message) {
			wire := m.writeWire()
			defer wire.Free()
			if err := proto.Unmarshal(wire.Materialize(), into); err != nil {
				t.Fatal(err)
			}
		}
		var find findResponse
		wantFind := &repb.FindMissingBlobsResponse{}
		var list []blobStatus
		var data [][]byte
		wantUpdate, wantRead := &repb.BatchUpdateBlobsResponse{}, &repb.BatchReadBlobsResponse{}
		for i, d := range digests {
			if whole, err := digest.FromProto(digest.SHA256, d); err == nil {
				find.missing = append(find.missing, whole)
				wantFind.MissingBlobDigests = append(wantFind.MissingBlobDigests, whole.Proto())
			}
			s := blobStatus{hash: []byte(d.Hash), size: d.SizeBytes}
			if i%2 == 1 {
				s.set(status.Error(codes.NotFound, d.Hash))
			}
			content := bytes.Repeat([]byte{1}, rapid.SampledFrom([]int{0, 1, 127, 128, copyBelow - 1, copyBelow, 100_000}).Draw(t, "n"))
			list, data = append(list, s), append(data, content)
			st := &statuspb.Status{}
			if i%2 == 1 {
				st = status.New(codes.NotFound, d.Hash).Proto()
			}
			wantUpdate.Responses = append(wantUpdate.Responses, &repb.BatchUpdateBlobsResponse_Response{Digest: d, Status: st})
			wantRead.Responses = append(wantRead.Responses, &repb.BatchReadBlobsResponse_Response{Digest: d, Status: st, Data: content})
		}
		gotFind, gotUpdate, gotRead := &repb.FindMissingBlobsResponse{}, &repb.BatchUpdateBlobsResponse{}, &repb.BatchReadBlobsResponse{}
		parse(&find, gotFind)
		parse(newUpdateResponse(list), gotUpdate)
		parse(newReadResponse(list, data, &arena{}), gotRead)
		for _, pair := range [][2]proto.Message{{wantFind, gotFind}, {wantUpdate, gotUpdate}, {wantRead, gotRead}} {
			if !proto.Equal(pair[0], pair[1]) { // cmp takes long for much data
				t.Error(cmp.Diff(pair[0], pair[1], protocmp.Transform()))
			}
		}
		chunk := new(bspb.ReadResponse)
		parse(&readChunk{mem.SliceBuffer("piece")}, chunk)
		if string(chunk.GetData()) != "piece" {
			t.Errorf("chunk %v", chunk)
		}
	})
}

// TestRawDigestsFollowTheSameRules: the fast way to read a digest takes and
// refuses what the other does.
func TestRawDigestsFollowTheSameRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := genDigest(t)
		r := rawDigest{hash: []byte(p.Hash), size: p.SizeBytes, set: true}
		got, gotErr := r.resolve(digest.SHA256)
		want, wantErr := digest.FromProto(digest.SHA256, p)
		if got != want || (gotErr == nil) != (wantErr == nil) {
			t.Errorf("%v: got %v, %v; want %v, %v", p, got, gotErr, want, wantErr)
		}
	})
	for c := range 256 {
		hash := bytes.Repeat([]byte{'0'}, 64)
		hash[c%64] = byte(c)
		r := rawDigest{hash: hash, size: 1, set: true}
		_, gotErr := r.resolve(digest.SHA256)
		if _, wantErr := digest.New(digest.SHA256, string(hash), 1); (gotErr == nil) != (wantErr == nil) {
			t.Errorf("%q: %v, want %v", hash, gotErr, wantErr)
		}
	}
}

// FuzzMessages feeds bytes to everything that reads the wire by hand: nothing may
// panic, and what protobuf refuses as a whole must not be taken, but for what is
// not UTF-8 (checked where it matters).
func FuzzMessages(f *testing.F) {
	wire, err := proto.Marshal(&bspb.WriteRequest{ResourceName: "a/uploads/b", WriteOffset: 300, FinishWrite: true, Data: []byte("data")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wire, 3)
	find, err := proto.Marshal(&repb.FindMissingBlobsRequest{InstanceName: "main", BlobDigests: []*repb.Digest{digest.SHA256.Empty().Proto(), {}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(find, 1)
	f.Add([]byte{0x0b, 0x0c}, 1)
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		buffers := func() mem.BufferSlice { return cutUp(slices.Clone(data), max(1, step)) }
		var find findRequest
		check(t, data, find.readWire(buffers(), mem.DefaultBufferPool()), &repb.FindMissingBlobsRequest{})
		for _, r := range find.digests {
			_, _ = r.resolve(digest.SHA256)
		}
		var update updateRequest
		check(t, data, update.readWire(buffers(), mem.DefaultBufferPool()), &repb.BatchUpdateBlobsRequest{})
		var read readRequest
		check(t, data, read.readWire(buffers(), mem.DefaultBufferPool()), &repb.BatchReadBlobsRequest{})
		var chunk writeChunk
		if err := chunk.readWire(buffers(), mem.DefaultBufferPool()); err == nil {
			m := new(bspb.WriteRequest)
			if proto.Unmarshal(data, m) != nil {
				t.Errorf("%x is no WriteRequest, and was taken", data)
			} else if !bytes.Equal(bytes.Join(chunk.data, nil), m.GetData()) || chunk.name != m.GetResourceName() || chunk.offset != m.GetWriteOffset() {
				t.Errorf("%x: %q at %d, %q; protobuf says %v", data, chunk.name, chunk.offset, chunk.data, m)
			}
		}
		for _, m := range []interface{ free() }{&find, &update, &read, &chunk} {
			m.free()
		}
	})
}

// check holds what a reader of ours says against what protobuf does.
func check(t *testing.T, data []byte, err error, m proto.Message) {
	t.Helper()
	if want := proto.Unmarshal(data, m); want != nil && err == nil && !notUTF8(want) {
		t.Errorf("%x is no %T, and was taken: %v", data, m, want)
	}
}

func notUTF8(err error) bool { return bytes.Contains([]byte(err.Error()), []byte("invalid UTF-8")) }
