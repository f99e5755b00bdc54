package reapi

import (
	"context"
	"errors"
	"fmt"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// updateRequest is a BatchUpdateBlobsRequest{instance_name 1, requests 2,
// digest_function 5}.
type updateRequest struct {
	body
	instance string
	blobs    []updateBlob
	function repb.DigestFunction_Value
}

// updateBlob is a BatchUpdateBlobsRequest.Request{digest 1, data 2, compressor 3}.
type updateBlob struct {
	digest     rawDigest
	data       []byte
	compressor repb.Compressor_Value
}

func (m *updateRequest) readWire(data mem.BufferSlice, pool mem.BufferPool) error {
	return eachField(m.hold(data, pool), func(f *field) error {
		switch {
		case f.is(2, protowire.BytesType):
			if len(m.blobs) == maxDigests {
				return fmt.Errorf("requests: has more than %d blobs", maxDigests)
			}
			m.blobs = append(m.blobs, updateBlob{})
			return m.blobs[len(m.blobs)-1].read(f.bytes)
		case f.is(1, protowire.BytesType):
			m.instance = string(f.bytes)
		case f.is(5, protowire.VarintType):
			m.function = repb.DigestFunction_Value(f.varint)
		}
		return nil
	})
}

func (u *updateBlob) read(b []byte) error {
	return eachField(b, func(f *field) error {
		switch {
		case f.is(1, protowire.BytesType):
			return u.digest.read(f.bytes)
		case f.is(2, protowire.BytesType):
			u.data = f.bytes
		case f.is(3, protowire.VarintType):
			u.compressor = repb.Compressor_Value(f.varint)
		}
		return nil
	})
}

// blobStatus is one entry of a batch response: the digest as the client wrote it,
// and how it went.
type blobStatus struct {
	hash   []byte
	size   int64
	status []byte // serialised google.rpc.Status; empty: OK
}

// updateResponse is a BatchUpdateBlobsResponse{responses 1 {digest 1, status 2}}.
// It copies what the client wrote, since the request's memory is given back before
// the response is sent.
type updateResponse struct{ wire mem.Buffer }

func (m *updateResponse) writeWire() mem.BufferSlice { return mem.BufferSlice{m.wire} }

func newUpdateResponse(list []blobStatus) *updateResponse {
	total := 0
	for i := range list {
		total += bytesLen(list[i].len())
	}
	b, done := newBuffer(total)
	for i := range list {
		s := &list[i]
		b = protowire.AppendVarint(append(b, 1<<3|2), uint64(s.len()))
		b = s.appendDigest(b)
		b = protowire.AppendBytes(append(b, 2<<3|2), s.status)
	}
	return &updateResponse{done(b)}
}

func (s *blobStatus) len() int {
	return bytesLen(digestLen(len(s.hash), s.size)) + bytesLen(len(s.status))
}

// appendDigest writes field 1, a Digest.
func (s *blobStatus) appendDigest(b []byte) []byte {
	b = protowire.AppendVarint(append(b, 1<<3|2), uint64(digestLen(len(s.hash), s.size)))
	if len(s.hash) > 0 {
		b = protowire.AppendBytes(append(b, 1<<3|2), s.hash)
	}
	if s.size != 0 {
		b = protowire.AppendVarint(append(b, 2<<3), uint64(s.size))
	}
	return b
}

// set notes how it went.
func (s *blobStatus) set(err error) {
	if err != nil {
		s.status = statusBytes(statusOf(err))
	}
}

// statusBytes serialises the status of one blob.
func statusBytes(err error) []byte {
	wire, marshalErr := proto.Marshal(status.Convert(err).Proto())
	if marshalErr != nil {
		wire, _ = proto.Marshal(&statuspb.Status{Code: int32(status.Code(err))})
	}
	return wire
}

// update serves BatchUpdateBlobs (REAPI, ContentAddressableStorage). Blobs fail
// one by one: INVALID_ARGUMENT for a malformed digest, a compressor that is not
// served or data that is not what the digest names, RESOURCE_EXHAUSTED with
// RetryInfo when the store is full. More than maxBatch bytes at once are
// INVALID_ARGUMENT for all.
func (c *casService) update(ctx context.Context, req *updateRequest) (*updateResponse, error) {
	if _, err := c.instances.resolve(req.instance); err != nil {
		return nil, err
	}
	fn, err := functionOf(req.function)
	if err != nil {
		return nil, err
	}
	total := 0
	for i := range req.blobs {
		total += len(req.blobs[i].data)
	}
	if total > maxBatch {
		return nil, invalidField("requests", fmt.Sprintf("the blobs have %d bytes, at most %d are taken at once: use ByteStream", total, maxBatch))
	}
	list := make([]blobStatus, len(req.blobs))
	wanted, index := make([]cas.Blob, 0, len(req.blobs)), make([]int32, 0, len(req.blobs))
	for i := range req.blobs {
		u := &req.blobs[i]
		if list[i], err = u.digest.echo("requests.digest"); err != nil {
			return nil, err
		}
		d, err := u.check(fn)
		if err != nil {
			list[i].status = statusBytes(err)
			continue
		}
		wanted, index = append(wanted, cas.Blob{Digest: d, Data: u.data}), append(index, int32(i))
	}
	for k, err := range c.store.PutMany(ctx, c.classOf.of(ctx), wanted) {
		if errors.Is(err, cas.ErrMismatch) {
			err = mismatch(&wanted[k])
		}
		list[index[k]].set(err)
	}
	if ctx.Err() != nil {
		return nil, statusOf(context.Cause(ctx))
	}
	return newUpdateResponse(list), nil
}

// check returns the digest of a blob to be stored.
func (u *updateBlob) check(fn digest.Function) (digest.Digest, error) {
	if u.compressor != repb.Compressor_IDENTITY {
		return digest.Digest{}, invalidField("requests.compressor", u.compressor.String()+" is not served here; IDENTITY is")
	}
	d, err := u.digest.resolve(fn)
	if err != nil {
		return d, invalidField("requests.digest", err.Error())
	}
	return d, nil
}

// mismatch says what is wrong with a blob, in BuildGrid's words.
func mismatch(b *cas.Blob) error {
	if int64(len(b.Data)) != b.Digest.Size {
		return status.Errorf(codes.InvalidArgument, "%s: the digest says %d bytes, the data has %d",
			cas.ErrMismatch.Error(), b.Digest.Size, len(b.Data))
	}
	return status.Error(codes.InvalidArgument, cas.ErrMismatch.Error())
}
