package reapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// readAll reads one stream.
func readAll(ctx context.Context, c bspb.ByteStreamClient, req *bspb.ReadRequest) (data []byte, largest int, err error) {
	stream, err := c.Read(ctx, req)
	if err != nil {
		return nil, 0, err
	}
	for {
		reply, err := stream.Recv()
		if err == io.EOF {
			return data, largest, nil
		}
		if err != nil {
			return data, largest, err
		}
		data, largest = append(data, reply.GetData()...), max(largest, len(reply.GetData()))
	}
}

func TestReadSendsTheAskedPart(t *testing.T) {
	g := newGrid(t, func(o *Options) { o.EmptyInstance = true })
	small, large := []byte("0123456789"), noise(5<<20+123, 1)
	ds := g.put(t, small, large)
	n := int64(len(large))
	for _, c := range []struct {
		blob          int
		offset, limit int64
		from, to      int64
	}{
		{0, 0, 0, 0, 10}, {0, 3, 0, 3, 10}, {0, 3, 4, 3, 7}, {0, 3, 100, 3, 10}, {0, 10, 0, 10, 10}, {0, 10, 5, 10, 10},
		{1, 0, 0, 0, n}, {1, 1, 0, 1, n}, {1, 600_000, 700_000, 600_000, 1_300_000}, {1, 4 << 20, 0, 4 << 20, n},
		{1, 512 << 10, 512 << 10, 512 << 10, 1 << 20}, {1, n - 1, 1 << 62, n - 1, n}, {1, n, 0, n, n}, {1, 5, 1, 5, 6},
	} {
		for _, instance := range []string{"main", ""} {
			got, largest, err := readAll(t.Context(), g.bytes, &bspb.ReadRequest{
				ResourceName: digest.ReadName(instance, ds[c.blob]), ReadOffset: c.offset, ReadLimit: c.limit})
			want := [][]byte{small, large}[c.blob][c.from:c.to]
			if err != nil || !bytes.Equal(got, want) || largest > chunkBytes {
				t.Errorf("%+v: %d bytes in parts of up to %d, %v", c, len(got), largest, err)
			}
		}
	}
	if got, _, err := readAll(t.Context(), g.bytes, &bspb.ReadRequest{ResourceName: digest.ReadName("", digest.SHA256.Empty())}); err != nil || len(got) != 0 {
		t.Errorf("the empty blob: %d bytes, %v", len(got), err)
	}
}

func TestReadErrors(t *testing.T) {
	g := newGrid(t)
	d := g.put(t, []byte("0123456789"))[0]
	name := digest.ReadName("main", d)
	gone := digest.Of(digest.SHA256, []byte("gone"))
	for what, c := range map[string]struct {
		req  *bspb.ReadRequest
		code codes.Code
		text string
	}{
		"beyond the end":   {&bspb.ReadRequest{ResourceName: name, ReadOffset: 11}, codes.OutOfRange, "read_offset"},
		"before the start": {&bspb.ReadRequest{ResourceName: name, ReadOffset: -1}, codes.OutOfRange, "read_offset"},
		"a negative limit": {&bspb.ReadRequest{ResourceName: name, ReadLimit: -1}, codes.InvalidArgument, "read_limit"},
		"missing":          {&bspb.ReadRequest{ResourceName: digest.ReadName("main", gone)}, codes.NotFound, gone.String()},
		"missing, its end": {&bspb.ReadRequest{ResourceName: digest.ReadName("main", gone), ReadOffset: 4}, codes.NotFound, ""},
		"missing, large":   {&bspb.ReadRequest{ResourceName: "main/blobs/" + gone.Hex() + "/99999999"}, codes.NotFound, ""},
		"another size":     {&bspb.ReadRequest{ResourceName: "main/blobs/" + d.Hex() + "/11"}, codes.NotFound, ""},
		"no name":          {&bspb.ReadRequest{}, codes.InvalidArgument, "resource_name"},
		"another instance": {&bspb.ReadRequest{ResourceName: digest.ReadName("nope", d)}, codes.InvalidArgument, "Invalid instance name: [nope]"},
		"no instance":      {&bspb.ReadRequest{ResourceName: digest.ReadName("", d)}, codes.InvalidArgument, "Invalid instance name: []"},
		"compressed":       {&bspb.ReadRequest{ResourceName: "main/compressed-blobs/zstd/" + d.String()}, codes.InvalidArgument, "ZSTD is not served"},
		"an upload's name": {&bspb.ReadRequest{ResourceName: digest.UploadName("main", uuid.NewString(), d)}, codes.InvalidArgument, "resource_name"},
		"garbage":          {&bspb.ReadRequest{ResourceName: "main/blobs/x"}, codes.InvalidArgument, "resource_name"},
		"a long name":      {&bspb.ReadRequest{ResourceName: strings.Repeat("a/", 100_000)}, codes.InvalidArgument, "longer than"},
	} {
		t.Run(what, func(t *testing.T) {
			_, _, err := readAll(t.Context(), g.bytes, c.req)
			if status.Code(err) != c.code || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %v with %q", err, c.code, c.text)
			}
		})
	}
}

// writeAll sends messages and returns the answer. The stream is closed only when
// end is set, so that what the server says by itself can be told apart.
func writeAll(ctx context.Context, c bspb.ByteStreamClient, end bool, requests ...*bspb.WriteRequest) (int64, error) {
	stream, err := c.Write(ctx)
	if err != nil {
		return 0, err
	}
	for _, req := range requests {
		if err := stream.Send(req); err != nil {
			break // the answer says why
		}
	}
	if end {
		if err := stream.CloseSend(); err != nil {
			return 0, err
		}
	}
	reply := new(bspb.WriteResponse)
	err = stream.RecvMsg(reply)
	return reply.GetCommittedSize(), err
}

// parts cuts an upload into messages of n bytes.
func parts(name string, data []byte, from, n int) (requests []*bspb.WriteRequest) {
	for at := from; at < len(data) || at == from; at += n {
		end := min(at+n, len(data))
		requests = append(requests, &bspb.WriteRequest{ResourceName: name, WriteOffset: int64(at), Data: data[at:end], FinishWrite: end == len(data)})
		name = ""
	}
	return requests
}

func TestWriteStoresBlobsOfEverySize(t *testing.T) {
	g := newGrid(t, func(o *Options) { o.EmptyInstance = true })
	for i, size := range []int{1, 1000, 70_000, 2 << 20, 2<<20 + 1, 5<<20 + 77} {
		for k, piece := range []int{3 << 20, 300_001, 65536} {
			data := noise(size, byte(10*i+k))
			d := digest.Of(digest.SHA256, data)
			name := digest.UploadName([]string{"main", "", "main"}[k], uuid.NewString(), d) + []string{"", "", "/some/file.o"}[k]
			committed, err := writeAll(t.Context(), g.bytes, i+k > 0, parts(name, data, 0, piece)...)
			if err != nil || committed != int64(size) {
				t.Fatalf("%d bytes in parts of %d: committed %d, %v", size, piece, committed, err)
			}
			if got, err := g.store.Get(t.Context(), d); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes in parts of %d: stored %d, %v", size, piece, len(got), err)
			}
		}
	}
}

func TestWriteOfWhatIsThereEndsAtOnce(t *testing.T) {
	g := newGrid(t)
	data := noise(3<<20, 1)
	d := g.put(t, data)[0]
	for _, d := range []digest.Digest{d, digest.SHA256.Empty()} {
		committed, err := writeAll(t.Context(), g.bytes, false, &bspb.WriteRequest{
			ResourceName: digest.UploadName("main", uuid.NewString(), d), Data: data[:min(10, d.Size)]})
		if err != nil || committed != d.Size {
			t.Errorf("%s: committed %d, %v", d, committed, err)
		}
	}
}

func TestABrokenWriteGoesOnWhereItStopped(t *testing.T) {
	g := newGrid(t)
	for _, size := range []int{100_000, 9 << 20} {
		data := noise(size, 2)
		d := digest.Of(digest.SHA256, data)
		name := digest.UploadName("main", uuid.NewString(), d)
		query := func() *bspb.QueryWriteStatusResponse {
			t.Helper()
			reply, err := g.bytes.QueryWriteStatus(t.Context(), &bspb.QueryWriteStatusRequest{ResourceName: name})
			if err != nil {
				t.Fatal(err)
			}
			return reply
		}
		if q := query(); q.GetCommittedSize() != 0 || q.GetComplete() {
			t.Errorf("before: %v", q)
		}
		ctx, cut := context.WithCancel(t.Context())
		stream, err := g.bytes.Write(ctx)
		if err != nil {
			t.Fatal(err)
		}
		half := parts(name, data, 0, size/10)[:5]
		for _, req := range half {
			if err := stream.Send(req); err != nil {
				t.Fatal(err)
			}
		}
		for query().GetCommittedSize() != int64(size/10*5) { // until the server has all that was sent
			if t.Context().Err() != nil {
				t.Fatal("never arrived")
			}
		}
		cut()
		_ = stream.RecvMsg(new(bspb.WriteResponse))
		at := query().GetCommittedSize()
		if at != int64(size/10*5) || query().GetComplete() {
			t.Fatalf("after the cut: %d", at)
		}
		_, err = writeAll(t.Context(), g.bytes, true, parts(name, data, int(at)+1, 100_000)...)
		wantInvalid(t, err, fmt.Sprintf("%d bytes of the blob are here", at))
		committed, err := writeAll(t.Context(), g.bytes, true, parts(name, data, int(at), 100_000)...)
		if err != nil || committed != int64(size) {
			t.Fatalf("resumed: %d, %v", committed, err)
		}
		if q := query(); q.GetCommittedSize() != int64(size) || !q.GetComplete() {
			t.Errorf("in the end: %v", q)
		}
		if got, err := g.store.Get(t.Context(), d); err != nil || !bytes.Equal(got, data) {
			t.Errorf("stored %d bytes, %v", len(got), err)
		}
	}
}

func TestAWriteMayBeginAnewUnderItsName(t *testing.T) {
	g := newGrid(t)
	data := noise(3<<20, 3)
	name := digest.UploadName("main", uuid.NewString(), digest.Of(digest.SHA256, data))
	wrong := noise(1<<20, 4) // of another blob: whoever goes on here fails in the end
	committed, err := writeAll(t.Context(), g.bytes, true, &bspb.WriteRequest{ResourceName: name, Data: wrong})
	if err != nil || committed != 1<<20 {
		t.Fatalf("a stream without finish_write: %d, %v", committed, err)
	}
	committed, err = writeAll(t.Context(), g.bytes, true, parts(name, data, 0, 1<<20)...)
	if err != nil || committed != 3<<20 {
		t.Errorf("anew: %d, %v", committed, err)
	}
}

func TestAllBytesWithoutFinishWriteAreCommitted(t *testing.T) {
	g := newGrid(t)
	data := noise(10_000, 5)
	d := digest.Of(digest.SHA256, data)
	committed, err := writeAll(t.Context(), g.bytes, true, &bspb.WriteRequest{ResourceName: digest.UploadName("main", uuid.NewString(), d), Data: data})
	if ok, _ := g.store.Present(t.Context(), d); err != nil || committed != 10_000 || !ok {
		t.Errorf("committed %d, present %t, %v", committed, ok, err)
	}
}

func TestWriteRefusesWhatIsNotTheBlob(t *testing.T) {
	g := newGrid(t, func(o *Options) { o.MaxBlobBytes = 100 << 20 })
	data := noise(4<<20, 6)
	d := digest.Of(digest.SHA256, data)
	sized := func(n int64) digest.Digest { return digest.Digest{Function: digest.SHA256, Hash: d.Hash, Size: n} }
	upload := func(d digest.Digest) string { return digest.UploadName("main", uuid.NewString(), d) }
	begin := func(req *bspb.WriteRequest) []*bspb.WriteRequest {
		if req.ResourceName == "" {
			req.ResourceName = upload(d)
		}
		return []*bspb.WriteRequest{req}
	}
	other := noise(4<<20, 7)
	first := &bspb.WriteRequest{ResourceName: upload(d), Data: data[:100]}
	for name, c := range map[string]struct {
		requests []*bspb.WriteRequest
		text     string
	}{
		"no message":                {nil, "resource_name"},
		"no name":                   {[]*bspb.WriteRequest{{Data: data[:5]}}, "resource_name"},
		"a name to read":            {begin(&bspb.WriteRequest{ResourceName: digest.ReadName("main", d)}), "resource_name"},
		"no UUID":                   {begin(&bspb.WriteRequest{ResourceName: digest.UploadName("main", "7", d)}), "is not a UUID"},
		"another instance":          {begin(&bspb.WriteRequest{ResourceName: digest.UploadName("nope", uuid.NewString(), d)}), "Invalid instance name: [nope]"},
		"compressed":                {begin(&bspb.WriteRequest{ResourceName: "main/uploads/" + uuid.NewString() + "/compressed-blobs/zstd/" + d.String()}), "ZSTD is not served"},
		"too large":                 {begin(&bspb.WriteRequest{ResourceName: upload(sized(100<<20 + 1))}), "at most 104857600 are taken"},
		"another content":           {parts(upload(d), other, 0, 1<<20), "Data does not match hash"},
		"another content, small":    {parts(upload(digest.Of(digest.SHA256, data[:9])), other[:9], 0, 9), "Data does not match hash"},
		"more than the size":        {parts(upload(sized(4<<20-1)), data, 0, 1<<20), "the blob has 4194303 bytes"},
		"more than the size, small": {parts(upload(sized(8)), data[:9], 0, 9), "the blob has 8 bytes"},
		"less than the size":        {parts(upload(sized(4<<20+1)), data, 0, 1<<20), "finish_write"},
		"less than the size, small": {parts(upload(sized(10)), data[:9], 0, 9), "finish_write"},
		"a negative offset":         {begin(&bspb.WriteRequest{WriteOffset: -1}), "write_offset"},
		"an offset beyond":          {begin(&bspb.WriteRequest{WriteOffset: 4<<20 + 1}), "write_offset"},
		"an offset of nothing":      {begin(&bspb.WriteRequest{WriteOffset: 5, Data: data[5:10]}), "0 bytes of the blob are here"},
		"a hole":                    {[]*bspb.WriteRequest{first, {WriteOffset: 101, Data: data[101:200]}}, "write_offset"},
		"an overlap":                {[]*bspb.WriteRequest{first, {WriteOffset: 99, Data: data[99:200]}}, "write_offset"},
		"another name":              {[]*bspb.WriteRequest{first, {ResourceName: upload(d), WriteOffset: 100, Data: data[100:200]}}, "resource_name"},
		"data after finish_write":   {append(parts(upload(d), data, 0, 1<<20), &bspb.WriteRequest{WriteOffset: 4 << 20, Data: data[:1]}), "finish_write"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := writeAll(t.Context(), g.bytes, true, c.requests...)
			wantInvalid(t, err, c.text)
			if ok, _ := g.store.Present(t.Context(), d); ok {
				t.Error("the blob is present")
			}
		})
	}
}

func TestConcurrentUploadsOfOneBlobAllSucceed(t *testing.T) {
	g := newGrid(t)
	data := noise(6<<20, 8)
	d := digest.Of(digest.SHA256, data)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			committed, err := writeAll(t.Context(), g.bytes, true, parts(digest.UploadName("main", uuid.NewString(), d), data, 0, 500_000)...)
			if err != nil || committed != d.Size {
				t.Errorf("committed %d, %v", committed, err)
			}
		})
	}
	wg.Wait()
	if got, _, err := readAll(t.Context(), g.bytes, &bspb.ReadRequest{ResourceName: digest.ReadName("main", d)}); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}

func TestTheNewestCallHasTheUpload(t *testing.T) {
	g := newGrid(t)
	data := noise(3<<20, 9)
	name := digest.UploadName("main", uuid.NewString(), digest.Of(digest.SHA256, data))
	old, err := g.bytes.Write(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := parts(name, data, 0, 1<<20)
	if err := old.Send(all[0]); err != nil {
		t.Fatal(err)
	}
	for { // until the old call has begun
		q, err := g.bytes.QueryWriteStatus(t.Context(), &bspb.QueryWriteStatusRequest{ResourceName: name})
		if err != nil {
			t.Fatal(err)
		}
		if q.GetCommittedSize() == 1<<20 {
			break
		}
	}
	next := parts(name, data, 1<<20, 1<<20)
	fresh, err := g.bytes.Write(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := fresh.Send(next[0]); err != nil {
		t.Fatal(err)
	}
	for {
		q, err := g.bytes.QueryWriteStatus(t.Context(), &bspb.QueryWriteStatusRequest{ResourceName: name})
		if err != nil {
			t.Fatal(err)
		}
		if q.GetCommittedSize() == 2<<20 {
			break
		}
	}
	_ = old.Send(all[1])
	if err := old.RecvMsg(new(bspb.WriteResponse)); status.Code(err) != codes.Aborted {
		t.Errorf("the old call: %v", err)
	}
	next[1].ResourceName = ""
	if err := fresh.Send(next[1]); err != nil {
		t.Fatal(err)
	}
	if reply, err := fresh.CloseAndRecv(); err != nil || reply.GetCommittedSize() != 3<<20 {
		t.Errorf("the new call: %v, %v", reply, err)
	}
}
