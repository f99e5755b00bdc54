package reapi

import (
	"context"
	"fmt"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// maxDigests bounds how many digests one request may have. A message of 4 MiB has
// room for fewer real ones, but for millions of empty ones.
const maxDigests = 1 << 16

// findRequest is a FindMissingBlobsRequest{instance_name 1, blob_digests 2,
// digest_function 3}.
type findRequest struct {
	body
	instance string
	digests  []rawDigest
	function repb.DigestFunction_Value
}

func (m *findRequest) readWire(data mem.BufferSlice, pool mem.BufferPool) error {
	b := m.hold(data, pool)
	m.digests = make([]rawDigest, 0, len(b)/70)
	return eachField(b, func(f *field) (err error) {
		switch {
		case f.is(2, protowire.BytesType):
			m.digests, err = appendDigest("blob_digests", m.digests, f.bytes)
		case f.is(1, protowire.BytesType):
			m.instance = string(f.bytes)
		case f.is(3, protowire.VarintType):
			m.function = repb.DigestFunction_Value(f.varint)
		}
		return err
	})
}

// appendDigest reads one more digest of a repeated field.
func appendDigest(name string, list []rawDigest, b []byte) ([]rawDigest, error) {
	if len(list) == maxDigests {
		return nil, fmt.Errorf("%s: has more than %d digests", name, maxDigests)
	}
	list = append(list, rawDigest{})
	return list, list[len(list)-1].read(b)
}

// findResponse is a FindMissingBlobsResponse{missing_blob_digests 2}.
type findResponse struct{ missing []digest.Digest }

func (m *findResponse) writeWire() mem.BufferSlice {
	total := 0
	for i := range m.missing {
		total += bytesLen(digestLen(64, m.missing[i].Size))
	}
	if total == 0 {
		return nil
	}
	b, done := newBuffer(total)
	for i := range m.missing {
		b = append(b, 2<<3|2)
		b = appendDigestBody(b, &m.missing[i])
	}
	return mem.BufferSlice{done(b)}
}

// appendDigestBody writes a Digest message with its length before it.
func appendDigestBody(b []byte, d *digest.Digest) []byte {
	b = append(b, byte(digestLen(64, d.Size)), 1<<3|2, 64)
	b = appendHash(b, &d.Hash)
	if d.Size != 0 {
		b = protowire.AppendVarint(append(b, 2<<3), uint64(d.Size))
	}
	return b
}

// findMissing serves FindMissingBlobs (REAPI, ContentAddressableStorage): each
// digest that is not there, once; what is there is protected from then on. A
// malformed digest is INVALID_ARGUMENT, except the empty one, which means the
// empty blob; that is never missing.
func (c *casService) findMissing(ctx context.Context, req *findRequest) (*findResponse, error) {
	if _, err := c.instances.resolve(req.instance); err != nil {
		return nil, err
	}
	fn, err := functionOf(req.function)
	if err != nil {
		return nil, err
	}
	ds, err := resolveAll("blob_digests", fn, req.digests)
	if err != nil {
		return nil, err
	}
	missing, err := c.store.FindMissing(ctx, ds)
	if err != nil {
		return nil, statusOf(err)
	}
	return &findResponse{missing}, nil
}
