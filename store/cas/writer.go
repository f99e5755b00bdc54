package cas

import (
	"context"
	"errors"
	"fmt"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// ErrSuperseded says that another call took an upload over.
var ErrSuperseded = errors.New("the upload goes on in another call")

// Writer takes one blob as a stream. Memory is bounded whatever the blob's size:
// a blob above 2 MiB goes to the disk in pieces as it comes, and is there only
// when Commit has found its hash right. It is for one goroutine.
type Writer struct {
	store *Store
	ctx   context.Context //nolint:containedctx // writes belong to the call that opened it
	class Class
	up    *upload
}

// Writer begins to write a blob. *FullError when the blob can never fit. The
// caller calls Close in the end, whatever happens.
func (s *Store) Writer(ctx context.Context, class Class, d digest.Digest) (*Writer, error) {
	return s.ResumeWriter(ctx, class, d, "")
}

// ResumeWriter begins to write a blob, or goes on where the upload of the same id
// and digest came to: at Offset. A call that still holds that upload gets
// ErrSuperseded from then on. Uploads survive Close, for UploadAge at most and
// within bounds of number and size, but not the process. An empty id makes an
// upload that cannot be resumed.
func (s *Store) ResumeWriter(ctx context.Context, class Class, d digest.Digest, id string) (*Writer, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	if !d.Function.Supported() || d.Size < 0 || d.Size > maxBlobSize {
		return nil, fmt.Errorf("write blob %s: %w", d, ErrMismatch)
	}
	if limit := s.space.limit(class); d.Size > limit {
		s.counters.refused.Add(1)
		return nil, &FullError{Reason: fmt.Sprintf("a blob of %d bytes does not fit into a store of %d", d.Size, s.opt.MaxBytes), RetryAfter: retryNever}
	}
	w := &Writer{store: s, ctx: ctx, class: class}
	for {
		w.up = s.writers.take(uploadKey{id, d})
		if err := w.up.begin(ctx); err != nil {
			s.writers.leave(s, w.up)
			return nil, err
		}
		gone := w.up.over
		if !gone {
			w.up.owner = w
		}
		w.up.end()
		if !gone {
			return w, nil
		}
		s.writers.leave(s, w.up)
	}
}

// UploadStatus tells how many bytes of an upload are kept, and whether the blob
// is there already (ByteStream QueryWriteStatus). known is false when the store
// knows neither the upload nor the blob. It protects a blob that is there.
func (s *Store) UploadStatus(ctx context.Context, d digest.Digest, id string) (offset int64, complete, known bool, err error) {
	present, err := s.Present(ctx, d)
	if err != nil || present {
		return d.Size, present, present, err
	}
	offset, known = s.writers.offset(uploadKey{id, d})
	return offset, false, known, nil
}

// Offset returns how many bytes of the blob were taken so far: where the next
// Write goes on.
func (w *Writer) Offset() int64 { return w.up.offset.Load() }

// Write takes the next bytes of the blob. ErrMismatch when there are more than the
// digest says; a *FullError when there is no room, after which it may go on at
// Offset.
func (w *Writer) Write(p []byte) (n int, err error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	defer w.up.end()
	if int64(len(p)) > w.up.key.digest.Size-w.up.offset.Load() {
		w.up.finish(w.store)
		return 0, ErrMismatch
	}
	for n < len(p) {
		m, err := w.up.fill(w, p[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Commit checks that the blob is complete and makes it present: it then survives
// the death of the process, and is protected. ErrMismatch when size or hash are
// not the digest's; nothing is kept then. Commit again does nothing.
func (w *Writer) Commit() error {
	if w.up.committed.Load() {
		return nil
	}
	if err := w.begin(); err != nil {
		return err
	}
	defer w.up.end()
	err := w.up.commit(w)
	if err == nil || errors.Is(err, ErrMismatch) {
		w.up.committed.Store(err == nil)
		w.up.finish(w.store)
	}
	return err
}

// begin takes the upload's turn for this call.
func (w *Writer) begin() error {
	if err := w.store.usable(w.ctx); err != nil {
		return err
	}
	if err := w.up.begin(w.ctx); err != nil {
		return err
	}
	switch {
	case w.up.owner != w:
		w.up.end()
		return ErrSuperseded
	case w.up.over:
		w.up.end()
		return ErrClosed
	}
	return nil
}

// Abort drops what was written. It does nothing after Commit, or when another
// call took the upload over.
func (w *Writer) Abort() {
	if err := w.up.begin(context.Background()); err != nil {
		return
	}
	defer w.up.end()
	if w.up.owner == w && !w.up.over {
		w.up.finish(w.store)
		w.store.counters.abandoned.Add(1)
	}
}

// Close ends the use of the Writer. What was not committed is kept to be resumed
// when it has an id, and dropped otherwise. It never fails, and may be repeated.
func (w *Writer) Close() error {
	if w.up == nil || w.store == nil {
		return nil
	}
	if w.up.key.id == "" {
		w.Abort()
	}
	w.up.rest(w)
	return nil
}
