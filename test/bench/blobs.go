package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"math/rand/v2"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// maker makes blobs that are all different, with their digests, at next to no
// cost: only the last 8 bytes differ, and the state of SHA-256 before them is
// kept. One caller has one maker.
type maker struct {
	prefix []byte
	state  hash.Cloner
	random *rand.Rand
}

func newMaker(size int) *maker {
	m := &maker{prefix: make([]byte, size-8), random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
	for i := range m.prefix {
		m.prefix[i] = byte(m.random.Uint32())
	}
	h := sha256.New()
	h.Write(m.prefix)
	m.state = h.(hash.Cloner)
	return m
}

// fill makes data, of the maker's size and with its prefix in place, the next
// blob, and returns its digest.
func (m *maker) fill(data []byte) *repb.Digest {
	tail := data[len(data)-8:]
	binary.LittleEndian.PutUint64(tail, m.random.Uint64())
	h, err := m.state.Clone()
	if err != nil {
		panic(err) // sha256 clones
	}
	h.Write(tail)
	return &repb.Digest{Hash: hex.EncodeToString(h.Sum(nil)), SizeBytes: int64(len(data))}
}

// batch returns an update request of n buffers to be filled again and again.
func (m *maker) batch(n int) *repb.BatchUpdateBlobsRequest {
	req := &repb.BatchUpdateBlobsRequest{InstanceName: instance}
	for range n {
		data := make([]byte, len(m.prefix)+8)
		copy(data, m.prefix)
		req.Requests = append(req.Requests, &repb.BatchUpdateBlobsRequest_Request{Data: data, Digest: m.fill(data)})
	}
	return req
}

// next fills a batch with new blobs.
func (m *maker) next(req *repb.BatchUpdateBlobsRequest) {
	for _, r := range req.Requests {
		r.Digest = m.fill(r.Data)
	}
}

// digestOf returns the digest of data.
func digestOf(data []byte) *repb.Digest {
	sum := sha256.Sum256(data)
	return &repb.Digest{Hash: hex.EncodeToString(sum[:]), SizeBytes: int64(len(data))}
}

// store uploads a batch and refuses any status but OK.
func store(ctx context.Context, conn *grpc.ClientConn, req *repb.BatchUpdateBlobsRequest) error {
	reply, err := repb.NewContentAddressableStorageClient(conn).BatchUpdateBlobs(ctx, req)
	if err != nil {
		return fmt.Errorf("upload a batch: %w", err)
	}
	if len(reply.GetResponses()) != len(req.GetRequests()) {
		return fmt.Errorf("upload a batch: %d responses for %d blobs", len(reply.GetResponses()), len(req.GetRequests()))
	}
	for _, r := range reply.GetResponses() {
		if codes.Code(r.GetStatus().GetCode()) != codes.OK {
			return fmt.Errorf("upload a blob: %w", status.ErrorProto(r.GetStatus()))
		}
	}
	return nil
}

// uploader collects blobs into batches below the limit of a message.
type uploader struct {
	conn  *grpc.ClientConn
	req   *repb.BatchUpdateBlobsRequest
	bytes int
}

// message stores a protobuf message and returns its digest.
func (u *uploader) message(ctx context.Context, m proto.Message) (*repb.Digest, error) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	return u.blob(ctx, data)
}

func (u *uploader) blob(ctx context.Context, data []byte) (*repb.Digest, error) {
	d := digestOf(data)
	if u.req == nil {
		u.req = &repb.BatchUpdateBlobsRequest{InstanceName: instance}
	}
	u.req.Requests = append(u.req.Requests, &repb.BatchUpdateBlobsRequest_Request{Digest: d, Data: data})
	if u.bytes += len(data) + 128; u.bytes > 2<<20 {
		return d, u.flush(ctx)
	}
	return d, nil
}

func (u *uploader) flush(ctx context.Context) error {
	if u.bytes == 0 {
		return nil
	}
	req := u.req
	u.req, u.bytes = nil, 0
	return store(ctx, u.conn, req)
}
