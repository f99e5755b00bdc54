package reapi

import (
	"context"
	"fmt"
	"sync"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"golang.org/x/sync/semaphore"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"

	"github.com/bgrid-node/bgrid-node/node/logstream"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// byteStream serves google.bytestream.ByteStream for the names of the REAPI
// (ContentAddressableStorage), blobs to read and uploads, and for log streams. Only
// what is not compressed is served.
type byteStream struct {
	bspb.UnimplementedByteStreamServer
	instances instances
	store     Blobs
	classOf   classOf
	maxBlob   int64 // the largest upload in bytes
	pieces    *piecePool
	memory    *semaphore.Weighted // of uploads under way, in bytes
	logBlobs  Blobs               // where the content of finished logs is
	streams   *logstream.Hub      // nil: no log streams
	elsewhere func(string) (grpc.ClientConnInterface, error)
	closing   context.Context // ends when the server stops; who waits for more of a log ends with it
}

// smallBlob is the size in bytes up to which the store keeps a blob in one piece:
// it is read at once, and held in memory while it is uploaded.
const smallBlob = 2 << 20

// uploadMemory bounds in bytes what all uploads under way hold in memory.
const uploadMemory = 256 << 20

func newByteStream(i instances, o Options) *byteStream {
	return &byteStream{
		instances: i, store: o.CAS, logBlobs: o.CAS, elsewhere: o.Elsewhere, maxBlob: o.MaxBlobBytes, pieces: newPiecePool(),
		memory: semaphore.NewWeighted(uploadMemory), streams: o.Streams, closing: o.Closing,
	}
}

// resourceOf checks the name of a blob to read or an upload.
func (s *byteStream) resourceOf(name string, parse func(string) (digest.Resource, error)) (digest.Resource, error) {
	r, err := parse(name)
	if err != nil {
		return r, invalidField("resource_name", err.Error())
	}
	if _, err := s.instances.resolve(r.Instance); err != nil {
		return r, err
	}
	if r.Compressor != repb.Compressor_IDENTITY {
		return r, invalidField("resource_name", fmt.Sprintf("the compressor %s is not served here; blobs without compression are", r.Compressor))
	}
	return r, nil
}

// QueryWriteStatus tells how much of an upload is here (google.bytestream). Of
// one that is unknown, that is nothing: clients in use begin anew then, while
// they take NOT_FOUND for a failure.
func (s *byteStream) QueryWriteStatus(ctx context.Context, req *bspb.QueryWriteStatusRequest) (*bspb.QueryWriteStatusResponse, error) {
	if s.isLog(req.GetResourceName()) {
		return s.logStatus(ctx, req)
	}
	r, err := s.resourceOf(req.GetResourceName(), digest.ParseUpload)
	if err != nil {
		return nil, err
	}
	offset, complete, _, err := s.store.UploadStatus(ctx, r.Digest, r.UploadID)
	if err != nil {
		return nil, statusOf(err)
	}
	return &bspb.QueryWriteStatusResponse{CommittedSize: offset, Complete: complete}, nil
}

// piecePool keeps buffers of the size of a piece. Unlike grpc-go's it does not
// clear them: they are always filled before they are sent.
type piecePool struct{ pool sync.Pool }

func newPiecePool() *piecePool { return &piecePool{} }

// Get implements mem.BufferPool.
func (p *piecePool) Get(length int) *[]byte {
	if b, ok := p.pool.Get().(*[]byte); ok && cap(*b) >= length {
		*b = (*b)[:length]
		return b
	}
	b := make([]byte, length)
	return &b
}

// Put implements mem.BufferPool.
func (p *piecePool) Put(b *[]byte) { p.pool.Put(b) }
