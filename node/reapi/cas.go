package reapi

import (
	"context"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// maxBatch is the largest sum of blobs in bytes that the batch calls take and
// send (REAPI, max_batch_total_size_bytes): a message of 4 MiB, with some room.
const maxBatch = 4<<20 - 1024

// blobStore is what the storage services need of *cas.Store.
type blobStore interface {
	blobs
	Present(ctx context.Context, d digest.Digest) (bool, error)
	GetMany(ctx context.Context, ds []digest.Digest) ([][]byte, []error)
	GetManyInto(ctx context.Context, ds []digest.Digest, alloc func(n int) []byte) ([][]byte, []error)
	PutMany(ctx context.Context, class cas.Class, blobs []cas.Blob) []error
	Reader(ctx context.Context, d digest.Digest, offset int64) (*cas.Reader, error)
	ResumeWriter(ctx context.Context, class cas.Class, d digest.Digest, id string) (*cas.Writer, error)
	UploadStatus(ctx context.Context, d digest.Digest, id string) (offset int64, complete, known bool, err error)
}

// casService serves build.bazel.remote.execution.v2.ContentAddressableStorage.
// FindMissingBlobs and the batch calls have messages of their own (find.go,
// batchupdate.go, batchread.go; see register.go). SplitBlob, SpliceBlob and their
// successors are UNIMPLEMENTED, and not advertised.
type casService struct {
	repb.UnimplementedContentAddressableStorageServer
	instances instances
	store     blobStore
	arenas    arenaPool
}
