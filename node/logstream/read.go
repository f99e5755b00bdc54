package logstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// How often a followed file is looked at: nobody tells when it grows. The time
// doubles while it does not.
const (
	firstLook = 25 * time.Millisecond
	lastLook  = 400 * time.Millisecond
)

// Moved says that the content of a stream is in the content-addressable storage
// now: it goes on there at the same offset.
type Moved struct{ Blob digest.Digest }

func (m *Moved) Error() string { return "the log stream is the blob " + m.Blob.String() }

// ErrRange is wrapped when an offset is beyond the end of a stream that has ended.
var ErrRange = errors.New("offset beyond the end of the log stream")

// Reader reads one stream from an offset on. One goroutine may use it.
type Reader struct {
	s  *stream
	at int64
}

// Open begins to read a stream at an offset in bytes, which may be beyond what is
// there yet. ErrNotFound, ErrName, ErrWriteName; ErrFull when as many read already
// as may. Close the reader.
func (h *Hub) Open(name string, offset int64) (*Reader, error) {
	_, _, token, err := parse(name)
	switch {
	case err != nil:
		return nil, err
	case token != "":
		return nil, ErrWriteName
	case offset < 0:
		return nil, fmt.Errorf("%w: %d is negative", ErrRange, offset)
	}
	s, err := h.find(name)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.readers >= h.o.MaxReaders {
		h.release(s)
		return nil, fmt.Errorf("%w: %d readers are at it", ErrFull, h.readers)
	}
	h.readers++
	return &Reader{s: s, at: offset}, nil
}

// Close ends the reading.
func (r *Reader) Close() {
	h := r.s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readers--
	h.release(r.s)
}

// Offset is where the next Read begins.
func (r *Reader) Offset() int64 { return r.at }

// Wait waits until something is there to Read and returns how many bytes. io.EOF:
// the stream has ended, and so has the reader. *Moved: all of it, what is left
// included, is a blob. ErrRange: it has ended before the offset.
func (r *Reader) Wait(ctx context.Context) (int64, error) {
	for look := firstLook; ; look = min(2*look, lastLook) {
		size, ended, changed, err := r.look()
		switch {
		case err != nil:
			return 0, err
		case r.at < size:
			return size - r.at, nil
		case ended && r.at > size:
			return 0, fmt.Errorf("%w: %d of %d bytes", ErrRange, r.at, size)
		case ended:
			return 0, io.EOF
		}
		if err := r.pause(ctx, changed, look); err != nil {
			return 0, err
		}
	}
}

// look returns how much is there, and what is closed at the next change.
func (r *Reader) look() (size int64, ended bool, changed <-chan struct{}, err error) {
	s := r.s
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if !s.blob.IsZero() {
		return 0, true, nil, &Moved{s.blob}
	}
	size = s.size
	if s.token == "" && !s.ended {
		size = sizeOf(s.file)
	}
	if s.changed == nil && !s.ended {
		s.changed = make(chan struct{})
	}
	return size, s.ended, s.changed, nil
}

// pause waits for a change; of a followed file at most until the next look.
func (r *Reader) pause(ctx context.Context, changed <-chan struct{}, look time.Duration) error {
	var due <-chan time.Time
	if r.s.token == "" {
		timer := time.NewTimer(look)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-changed:
	case <-due:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// Read reads what Wait said to be there.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.s.file.ReadAt(p, r.at)
	r.at += int64(n)
	if n > 0 {
		err = nil // what is short now comes next
	}
	return n, err
}
