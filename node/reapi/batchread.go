package reapi

import (
	"context"
	"errors"
	"fmt"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// readRequest is a BatchReadBlobsRequest{instance_name 1, digests 2,
// acceptable_compressors 3, digest_function 4}. What compressors the client takes
// does not matter: IDENTITY always is one.
type readRequest struct {
	body
	instance string
	digests  []rawDigest
	function repb.DigestFunction_Value
}

func (m *readRequest) readWire(data mem.BufferSlice, pool mem.BufferPool) error {
	b := m.hold(data, pool)
	m.digests = make([]rawDigest, 0, len(b)/70)
	return eachField(b, func(f *field) (err error) {
		switch {
		case f.is(2, protowire.BytesType):
			m.digests, err = appendDigest("digests", m.digests, f.bytes)
		case f.is(1, protowire.BytesType):
			m.instance = string(f.bytes)
		case f.is(4, protowire.VarintType):
			m.function = repb.DigestFunction_Value(f.varint)
		}
		return err
	})
}

// readResponse is a BatchReadBlobsResponse{responses 1 {digest 1, data 2, status
// 3}}, ready to be sent: blobs go out from the memory they were read into, which
// is used again when grpc-go has freed the last of them.
type readResponse struct{ wire mem.BufferSlice }

func (m *readResponse) writeWire() mem.BufferSlice { return m.wire }

// copyBelow is the size of a blob in bytes below which it is cheaper to copy it
// into the message than to send it by itself.
const copyBelow = 4 << 10

func newReadResponse(list []blobStatus, data [][]byte, from *arena) *readResponse {
	defer from.free()
	m := &readResponse{}
	total := 0
	for i := range list {
		total += bytesLen(list[i].readLen(data[i]))
		if len(data[i]) >= copyBelow {
			total -= len(data[i])
		}
	}
	frame := make([]byte, 0, total) // of everything but the large blobs
	for i := range list {
		s := &list[i]
		frame = protowire.AppendVarint(append(frame, 1<<3|2), uint64(s.readLen(data[i])))
		frame = s.appendDigest(frame)
		frame = protowire.AppendBytes(append(frame, 3<<3|2), s.status)
		if len(data[i]) == 0 {
			continue
		}
		frame = protowire.AppendVarint(append(frame, 2<<3|2), uint64(len(data[i])))
		if len(data[i]) < copyBelow {
			frame = append(frame, data[i]...)
			continue
		}
		m.wire = append(m.wire, mem.SliceBuffer(frame), from.part(data[i]))
		frame = frame[len(frame):]
	}
	if len(frame) > 0 {
		m.wire = append(m.wire, mem.SliceBuffer(frame))
	}
	return m
}

func (s *blobStatus) readLen(data []byte) int {
	n := s.len()
	if len(data) > 0 {
		n += bytesLen(len(data))
	}
	return n
}

// read serves BatchReadBlobs (REAPI, ContentAddressableStorage). Blobs fail one by
// one: NOT_FOUND, and INVALID_ARGUMENT for a malformed digest. Digests that sum up
// to more than maxBatch bytes are INVALID_ARGUMENT for all.
func (c *casService) read(ctx context.Context, req *readRequest) (*readResponse, error) {
	if _, err := c.instances.resolve(req.instance); err != nil {
		return nil, err
	}
	fn, err := functionOf(req.function)
	if err != nil {
		return nil, err
	}
	list := make([]blobStatus, len(req.digests))
	wanted, index := make([]digest.Digest, 0, len(req.digests)), make([]int32, 0, len(req.digests))
	left := int64(maxBatch)
	for i := range req.digests {
		raw := &req.digests[i]
		if list[i], err = raw.echo("digests"); err != nil {
			return nil, err
		}
		d, err := raw.resolve(fn)
		if err != nil {
			list[i].status = statusBytes(invalidField("digests", err.Error()))
			continue
		}
		if left -= d.Size; left < 0 {
			return nil, invalidField("digests", fmt.Sprintf("the blobs have more than the %d bytes that are sent at once: use ByteStream", maxBatch))
		}
		wanted, index = append(wanted, d), append(index, int32(i))
	}
	data := make([][]byte, len(list))
	memory := &arena{pool: &c.arenas}
	found, errs := c.store.GetManyInto(ctx, wanted, memory.alloc)
	for k, err := range errs {
		if errors.Is(err, cas.ErrNotFound) {
			err = notFound(wanted[k])
		}
		list[index[k]].set(err)
		if err == nil {
			data[index[k]] = found[k]
		}
	}
	if ctx.Err() != nil {
		memory.free()
		return nil, statusOf(context.Cause(ctx))
	}
	return newReadResponse(list, data, memory), nil
}

func notFound(d digest.Digest) error {
	return status.Errorf(codes.NotFound, "blob %s is not in the content-addressable storage", d)
}
