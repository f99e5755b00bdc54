package cas

import (
	"context"
	"io"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// BlobWriter takes one blob as a stream, as *Writer does: whoever writes blobs
// need not know whether they go to this disk alone.
type BlobWriter interface {
	// Write takes the next bytes. ErrMismatch when there are more than the digest
	// says, a *FullError when there is no room.
	io.Writer
	// Offset is how many bytes were taken so far: where the next Write goes on.
	Offset() int64
	// Commit makes the blob present when it is complete and what the digest names;
	// otherwise ErrMismatch.
	Commit() error
	// Abort drops what was written.
	Abort()
	// Close ends the use. What was not committed is kept to be resumed when the
	// upload has an id. It is called in the end, whatever happens.
	io.Closer
}

// OpenReader is Reader for callers that need no more than to read.
func (s *Store) OpenReader(ctx context.Context, d digest.Digest, offset int64) (io.ReadCloser, error) {
	r, err := s.Reader(ctx, d, offset)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// OpenWriter is ResumeWriter for callers that need no more than a BlobWriter. An
// empty id makes an upload that cannot be resumed.
func (s *Store) OpenWriter(ctx context.Context, class Class, d digest.Digest, id string) (BlobWriter, error) {
	w, err := s.ResumeWriter(ctx, class, d, id)
	if err != nil {
		return nil, err
	}
	return w, nil
}
