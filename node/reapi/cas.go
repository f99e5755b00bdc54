package reapi

import (
	"context"
	"io"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// maxBatch is the largest sum of blobs in bytes that the batch calls take and
// send (REAPI, max_batch_total_size_bytes): a message of 4 MiB, with some room.
const maxBatch = 4<<20 - 1024

// Blobs is the content-addressable storage as the services need it: that of this
// node alone (*cas.Store, whose methods say more), or of a whole cluster. What is
// found or stored is protected from then on. Errors are those of store/cas.
type Blobs interface {
	// Get returns a whole blob, or cas.ErrNotFound.
	Get(ctx context.Context, d digest.Digest) ([]byte, error)
	// GetMany returns whole blobs and an error for each.
	GetMany(ctx context.Context, ds []digest.Digest) ([][]byte, []error)
	// GetManyInto is GetMany into memory that alloc gives, once at most; what lies in
	// it has its end as capacity. Blobs may have memory of their own.
	GetManyInto(ctx context.Context, ds []digest.Digest, alloc func(n int) []byte) ([][]byte, []error)
	// FindMissing returns those that are not there, each once, in the order asked.
	FindMissing(ctx context.Context, ds []digest.Digest) ([]digest.Digest, error)
	// Present tells whether an upload of the blob would change nothing.
	Present(ctx context.Context, d digest.Digest) (bool, error)
	// PutMany stores blobs and returns an error for each. The data is not kept.
	PutMany(ctx context.Context, class cas.Class, blobs []cas.Blob) []error
	// OpenReader reads one blob from an offset on.
	OpenReader(ctx context.Context, d digest.Digest, offset int64) (io.ReadCloser, error)
	// OpenWriter begins an upload, or goes on with the one of that id and digest.
	OpenWriter(ctx context.Context, class cas.Class, d digest.Digest, id string) (cas.BlobWriter, error)
	// UploadStatus tells how far an upload came, and whether the blob is there.
	UploadStatus(ctx context.Context, d digest.Digest, id string) (offset int64, complete, known bool, err error)
}

var _ Blobs = (*cas.Store)(nil)

// casService serves build.bazel.remote.execution.v2.ContentAddressableStorage.
// FindMissingBlobs and the batch calls have messages of their own (find.go,
// batchupdate.go, batchread.go; see register.go). SplitBlob, SpliceBlob and their
// successors are UNIMPLEMENTED, and not advertised.
type casService struct {
	repb.UnimplementedContentAddressableStorageServer
	instances instances
	store     Blobs
	classOf   classOf
	arenas    arenaPool
}
