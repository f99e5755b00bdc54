package node

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/genproto/googleapis/rpc/code"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// blobStore is the content-addressable storage as a local worker needs it:
// *cas.Store, or that of a whole cluster.
type blobStore interface {
	GetMany(ctx context.Context, ds []digest.Digest) ([][]byte, []error)
	PutMany(ctx context.Context, class cas.Class, blobs []cas.Blob) []error
	OpenReader(ctx context.Context, d digest.Digest, offset int64) (io.ReadCloser, error)
	OpenWriter(ctx context.Context, class cas.Class, d digest.Digest, id string) (cas.BlobWriter, error)
}

// blobs is that storage as runners see it.
type blobs struct{ store blobStore }

var _ runners.Blobs = blobs{}

// GetMany implements runners.Blobs.
func (b blobs) GetMany(ctx context.Context, ds []digest.Digest) ([][]byte, error) {
	data, errs := b.store.GetMany(ctx, ds)
	var missing []digest.Digest
	for i, err := range errs {
		switch {
		case errors.Is(err, cas.ErrNotFound):
			missing = append(missing, ds[i])
		case err != nil:
			return nil, fmt.Errorf("get blob %s: %w", ds[i], err)
		}
	}
	if len(missing) > 0 {
		return nil, &runners.MissingError{Digests: missing}
	}
	return data, nil
}

// Open implements runners.Blobs.
func (b blobs) Open(ctx context.Context, d digest.Digest) (io.ReadCloser, error) {
	r, err := b.store.OpenReader(ctx, d, 0)
	if errors.Is(err, cas.ErrNotFound) {
		return nil, &runners.MissingError{Digests: []digest.Digest{d}}
	}
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", d, err)
	}
	return r, nil
}

// PutMany implements runners.Blobs.
func (b blobs) PutMany(ctx context.Context, list []runners.Blob) error {
	converted := make([]cas.Blob, len(list))
	for i, blob := range list {
		converted[i] = cas.Blob(blob)
	}
	return putError(errors.Join(b.store.PutMany(ctx, cas.Output, converted)...))
}

// Upload implements runners.Blobs.
func (b blobs) Upload(ctx context.Context, d digest.Digest, open func() (io.ReadCloser, error)) error {
	return putError(b.upload(ctx, d, open))
}

func (b blobs) upload(ctx context.Context, d digest.Digest, open func() (io.ReadCloser, error)) error {
	w, err := b.store.OpenWriter(ctx, cas.Output, d, "")
	if err != nil {
		return fmt.Errorf("store blob %s: %w", d, err)
	}
	defer func() { _ = w.Close() }()
	content, err := open()
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	if _, err := io.Copy(w, content); err != nil {
		return fmt.Errorf("store blob %s: %w", d, err)
	}
	if err := w.Commit(); err != nil {
		return fmt.Errorf("store blob %s: %w", d, err)
	}
	return nil
}

// putError makes a full storage the end of the action, RESOURCE_EXHAUSTED: to
// execute it again at once would find the storage as full.
func putError(err error) error {
	if full := (*cas.FullError)(nil); errors.As(err, &full) {
		return &runners.Failure{Code: code.Code_RESOURCE_EXHAUSTED, Text: full.Error()}
	}
	return err
}
