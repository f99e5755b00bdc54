package logstream

import (
	"os"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Followed is a file that grows, as a log stream.
type Followed struct{ s *stream }

// Follow makes a file that grows readable as a log stream. The hub takes the file
// over, also when it fails, and closes it some time after End. Nobody may shorten
// or change what is in it. ErrFull, ErrName.
func (h *Hub) Follow(parent string, f *os.File) (*Followed, error) {
	s, err := h.add(parent, "", f)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &Followed{s}, nil
}

// Name is the resource name to read the stream by.
func (f *Followed) Name() string { return f.s.name }

// End says that the file grows no more. blob is where its content is from now on,
// which may go on beyond the file's end; zero: nowhere else. In that case a file
// above Options.MaxBytes can be read to its end by those who read it already only.
func (f *Followed) End(blob digest.Digest) {
	h := f.s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	f.s.refs++ // until the end of this
	defer h.release(f.s)
	f.s.blob = blob
	h.finish(f.s)
	if blob.IsZero() && f.s.size > h.o.MaxBytes {
		h.forget(f.s)
	}
}
