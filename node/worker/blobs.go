package worker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// blobs is the server's content-addressable storage.
type blobs struct{ client *client.Client }

var _ runners.Blobs = blobs{}

// GetMany implements runners.Blobs.
func (b blobs) GetMany(ctx context.Context, ds []digest.Digest) ([][]byte, error) {
	data, missing, err := b.client.FetchMany(ctx, ds)
	if len(missing) > 0 {
		return nil, &runners.MissingError{Digests: missing}
	}
	return data, err
}

// Open implements runners.Blobs. What is read has been verified once the end is
// reached.
func (b blobs) Open(ctx context.Context, d digest.Digest) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	out, in := io.Pipe()
	go func() {
		err := b.client.Fetch(ctx, d, in)
		if errors.Is(err, client.ErrNotFound) {
			err = &runners.MissingError{Digests: []digest.Digest{d}}
		}
		_ = in.CloseWithError(err) // nil: the end
	}()
	r := &blobReader{Reader: bufio.NewReader(out), pipe: out, cancel: cancel}
	if _, err := r.Peek(1); err != nil && !errors.Is(err, io.EOF) { // one that is missing shows now
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

type blobReader struct {
	*bufio.Reader
	pipe   *io.PipeReader
	cancel func()
}

// Close implements io.Closer.
func (r *blobReader) Close() error {
	r.cancel()
	return r.pipe.Close()
}

// PutMany implements runners.Blobs.
func (b blobs) PutMany(ctx context.Context, list []runners.Blob) error {
	sources := make([]client.Source, len(list))
	for i, blob := range list {
		sources[i] = client.Source{Digest: blob.Digest, Data: blob.Data}
	}
	_, err := b.client.Upload(ctx, sources, nil)
	return err
}

// Upload implements runners.Blobs.
func (b blobs) Upload(ctx context.Context, d digest.Digest, open func() (io.ReadCloser, error)) error {
	_, err := b.client.Upload(ctx, []client.Source{{Digest: d, Open: func() (io.ReadSeekCloser, error) {
		content, err := open()
		if err != nil {
			return nil, err
		}
		return &rewinder{ReadCloser: content, open: open}, nil
	}}}, nil)
	return err
}

// rewinder seeks in what can only be read from its start.
type rewinder struct {
	io.ReadCloser
	open func() (io.ReadCloser, error)
	at   int64
}

// Read implements io.Reader.
func (r *rewinder) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.at += int64(n)
	return n, err
}

// Seek implements io.Seeker, from the start only.
func (r *rewinder) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekStart || offset < 0 {
		return 0, errors.New("seek: only from the start")
	}
	if offset < r.at {
		again, err := r.open()
		if err != nil {
			return 0, err
		}
		_ = r.ReadCloser.Close()
		r.ReadCloser, r.at = again, 0
	}
	if _, err := io.CopyN(io.Discard, r, offset-r.at); err != nil {
		return 0, fmt.Errorf("seek to %d: %w", offset, err)
	}
	return offset, nil
}
