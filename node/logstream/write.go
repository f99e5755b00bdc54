package logstream

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Create makes a stream that is written by its second name, which is a secret, and
// read by its first (LogStreamService.CreateLogStream). ErrFull, ErrName.
func (h *Hub) Create(parent string) (name, writeName string, err error) {
	s, err := h.add(parent, rand.Text(), nil)
	if err != nil {
		return "", "", err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.expire(s, h.o.Idle)
	return s.name, s.name + "/" + s.token, nil
}

// OffsetError says that a write does not go on where the one before ended.
type OffsetError struct{ Offset, Committed int64 }

func (e *OffsetError) Error() string {
	return fmt.Sprintf("the offset is %d, but %d bytes of the log stream are here", e.Offset, e.Committed)
}

// writable returns the stream with that write name, with a reference that the
// caller releases.
func (h *Hub) writable(writeName string) (*stream, error) {
	parent, id, token, err := parse(writeName)
	switch {
	case err != nil:
		return nil, err
	case token == "":
		return nil, ErrReadName
	}
	s, err := h.find(nameOf(parent, id))
	if err != nil {
		return nil, err
	}
	if s.token != token { // of 128 random bits: no point in comparing slowly
		h.drop(s)
		return nil, ErrNotFound
	}
	return s, nil
}

func (h *Hub) drop(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.release(s)
}

// Status tells how much of a stream was written, and whether it is finished. Both
// names are taken: so a reader can learn how much there is without waiting.
func (h *Hub) Status(name string) (committed int64, finished bool, err error) {
	_, _, token, err := parse(name)
	if err != nil {
		return 0, false, err
	}
	find := h.find
	if token != "" {
		find = h.writable
	}
	s, err := find(name)
	if err != nil {
		return 0, false, err
	}
	defer h.drop(s)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !s.blob.IsZero():
		return s.blob.Size, true, nil
	case s.token == "" && !s.ended:
		return sizeOf(s.file), false, nil
	}
	return s.size, s.ended, nil
}

// Append writes the parts at the end of a stream, which must be at the offset, and
// returns how many bytes the stream has then. With finish it gets no more; to
// finish it again at the same offset is fine. *OffsetError, ErrFinished,
// ErrNotFound, ErrReadName, ErrFull.
func (h *Hub) Append(writeName string, offset int64, parts [][]byte, finish bool) (int64, error) {
	s, err := h.writable(writeName)
	if err != nil {
		return 0, err
	}
	defer h.drop(s)
	s.writing.Lock()
	defer s.writing.Unlock()
	n := int64(0)
	for _, p := range parts {
		n += int64(len(p))
	}
	if err := h.reserve(s, offset, n, finish); err != nil {
		return 0, err
	}
	if n > 0 {
		err = s.write(offset, parts)
	}
	return h.commit(s, n, err, finish)
}

// reserve takes the bytes off what is left, so that other writers see it.
func (h *Hub) reserve(s *stream, offset, n int64, finish bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case s.ended && finish && n == 0 && offset == s.size:
		return nil
	case s.ended:
		return ErrFinished
	case offset != s.size:
		return &OffsetError{offset, s.size}
	case n > h.o.MaxBytes-s.size:
		return fmt.Errorf("%w: one stream takes at most %d bytes", ErrFull, h.o.MaxBytes)
	case n > h.o.MaxTotal-h.total:
		return fmt.Errorf("%w: all of them together take at most %d bytes", ErrFull, h.o.MaxTotal)
	}
	if s.file == nil && n > 0 {
		f, err := spoolFile(h.o.Dir)
		if err != nil {
			return err
		}
		s.file = f
	}
	h.total += n
	return nil
}

// spoolFile makes a file without a name.
func spoolFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "logstream-")
	if err != nil {
		return nil, fmt.Errorf("make file for a log stream: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("unlink file of a log stream: %w", err)
	}
	return f, nil
}

func (s *stream) write(offset int64, parts [][]byte) error {
	for _, p := range parts {
		if _, err := s.file.WriteAt(p, offset); err != nil {
			if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
				return fmt.Errorf("%w: %w", ErrFull, err)
			}
			return fmt.Errorf("write log stream: %w", err)
		}
		offset += int64(len(p))
	}
	return nil
}

// commit lets readers see what was written.
func (h *Hub) commit(s *stream, n int64, err error, finish bool) (int64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.total -= n
		return 0, err
	}
	s.size += n
	switch {
	case finish:
		h.finish(s)
	case !s.ended:
		s.tell()
		h.expire(s, h.o.Idle)
	}
	return s.size, nil
}
