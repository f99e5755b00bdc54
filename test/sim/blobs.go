package sim

import (
	"context"
	"sync"
	"time"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// blobs is a content-addressable storage that all nodes share and that loses
// nothing: what becomes of blobs is not the matter here.
type blobs struct {
	mu   sync.Mutex
	data map[digest.Digest][]byte
}

func newBlobs() *blobs { return &blobs{data: map[digest.Digest][]byte{}} }

// put adds a blob and returns its name.
func (b *blobs) put(data []byte) digest.Digest {
	d := digest.Of(digest.SHA256, data)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data[d] = data
	return d
}

// Get is that of sched.Blobs, bots.Blobs and actioncache.Blobs.
func (b *blobs) Get(_ context.Context, d digest.Digest) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if data, ok := b.data[d]; ok {
		return data, nil
	}
	return nil, cas.ErrNotFound
}

// GetMany is that of actioncache.Blobs.
func (b *blobs) GetMany(ctx context.Context, ds []digest.Digest) ([][]byte, []error) {
	data, errs := make([][]byte, len(ds)), make([]error, len(ds))
	for i, d := range ds {
		data[i], errs[i] = b.Get(ctx, d)
	}
	return data, errs
}

// PutMany is that of sched.Blobs.
func (b *blobs) PutMany(_ context.Context, _ cas.Class, blobs []cas.Blob) []error {
	for _, x := range blobs {
		b.put(x.Data)
	}
	return make([]error, len(blobs))
}

// FindMissing is that of actioncache.Blobs.
func (b *blobs) FindMissing(_ context.Context, ds []digest.Digest) (missing []digest.Digest, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range ds {
		if _, ok := b.data[d]; !ok && d.Size > 0 {
			missing = append(missing, d)
		}
	}
	return missing, nil
}

// Bucket is that of actioncache.Blobs.
func (b *blobs) Bucket() time.Duration { return time.Hour }

// LossEpoch is that of actioncache.Blobs.
func (b *blobs) LossEpoch() uint64 { return 0 }
