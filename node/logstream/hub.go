// Package logstream makes what actions print readable while they run: as log
// streams, which are named, grow, end, and are read from any offset (Log Stream
// API, build.bazel.remote.logstream.v1). A stream is a file of a local worker, or
// is written by whoever created it. See DESIGN.md.
package logstream

import (
	"container/list"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// What callers tell apart.
var (
	ErrNotFound  = errors.New("no such log stream, or its time is over")
	ErrName      = errors.New("not the name of a log stream")
	ErrReadName  = errors.New("this is the name to read the log stream by; only the one to write it is taken here")
	ErrWriteName = errors.New("this is the name to write the log stream by; only the one to read it is taken here")
	ErrFinished  = errors.New("the log stream is finished: nothing can be appended")
	ErrFull      = errors.New("no room for more log streams now")
)

// Options bound a Hub. Where a value is 0, the default in its comment holds.
type Options struct {
	// Dir is where written streams are kept. Files in it have no names, so that
	// nothing is left when the process dies. "": the directory for temporary files.
	Dir string
	// MaxStreams bounds the streams that are known, ended ones included; the oldest
	// ended ones make room. 4096.
	MaxStreams int
	// MaxReaders bounds the readers at a time. Each may hold a buffer of the caller.
	// 1024.
	MaxReaders int
	// MaxBytes bounds one written stream, 64 MiB, and MaxTotal all of them, 1 GiB.
	MaxBytes, MaxTotal int64
	// Keep is how long an ended stream can be read. 10 min.
	Keep time.Duration
	// Idle is after how much silence a written stream that nobody finished is given
	// up. 3 h.
	Idle time.Duration
	// Node is this hub's name among others, without slashes and "~". It is part of the
	// names of its streams, where NodeOf finds it. "": it is the only one.
	Node string
}

func (o Options) withDefaults() Options {
	if o.MaxStreams == 0 {
		o.MaxStreams = 4096
	}
	if o.MaxReaders == 0 {
		o.MaxReaders = 1024
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 20
	}
	if o.MaxTotal == 0 {
		o.MaxTotal = 1 << 30
	}
	if o.Keep == 0 {
		o.Keep = 10 * time.Minute
	}
	if o.Idle == 0 {
		o.Idle = 3 * time.Hour
	}
	return o
}

// Hub knows the log streams of this process. Its methods may be called from any
// goroutine.
type Hub struct {
	o Options

	mu      sync.Mutex
	streams map[string]*stream // by name
	ended   list.List          // of *stream, the first to end in front
	readers int
	total   int64 // bytes of written streams
	closed  bool
}

// New returns a Hub without streams. Close it when nothing reads or writes any
// more.
func New(o Options) *Hub {
	return &Hub{o: o.withDefaults(), streams: map[string]*stream{}}
}

// Close forgets every stream.
func (h *Hub) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, s := range h.streams {
		h.forget(s)
	}
	return nil
}

// stream is one log stream. What is not set at its making is guarded by the hub's
// mu; file is read without it by those who hold a reference.
type stream struct {
	hub   *Hub
	name  string
	token string // to write with; "": a followed file

	writing sync.Mutex // held by the one who appends, longer than the hub's

	refs    int      // the hub's own, and one a reader or writer
	file    *os.File // nil: nothing is written yet
	size    int64    // bytes that were written; unknown of a followed file until it ends
	ended   bool
	blob    digest.Digest // where the content is, once it is there
	changed chan struct{} // closed at the next change; nil: nobody waits
	timer   *time.Timer   // of its expiry
	place   *list.Element // among those that have ended
}

// add makes a stream known, with one reference of the hub's.
func (h *Hub) add(parent, token string, file *os.File) (*stream, error) {
	if err := checkParent(parent); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.streams) >= h.o.MaxStreams {
		if oldest := h.ended.Front(); oldest != nil {
			h.forget(oldest.Value.(*stream))
		}
	}
	if h.closed || len(h.streams) >= h.o.MaxStreams {
		return nil, fmt.Errorf("%w: %d are open", ErrFull, len(h.streams))
	}
	s := &stream{hub: h, name: nameOf(parent, h.newID()), token: token, file: file, refs: 1}
	h.streams[s.name] = s
	return s, nil
}

// find returns a stream with a reference that the caller releases.
func (h *Hub) find(name string) (*stream, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.streams[name]
	if s == nil {
		return nil, ErrNotFound
	}
	s.refs++
	return s, nil
}

// The rest needs the hub's mu.

// forget takes the name away. Who reads already may go on to the end.
func (h *Hub) forget(s *stream) {
	if h.streams[s.name] != s {
		return
	}
	delete(h.streams, s.name)
	if s.place != nil {
		h.ended.Remove(s.place)
		s.place = nil
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	s.end()
	h.release(s)
}

// release gives a reference back. The file goes with the last reader once the
// name is gone, or once there is a blob in its place.
func (h *Hub) release(s *stream) {
	s.refs--
	users := s.refs
	known := h.streams[s.name] == s
	if known {
		users--
	}
	if s.file == nil || users > 0 || (known && s.blob.IsZero()) {
		return
	}
	_ = s.file.Close() // it has no name any more, or is somebody else's to keep
	s.file = nil
	if s.token != "" {
		h.total -= s.size
	}
}

// end makes what is there all that there will be.
func (s *stream) end() {
	if s.ended {
		return
	}
	s.ended = true
	if s.token == "" && s.file != nil {
		s.size = sizeOf(s.file)
	}
	s.tell()
}

// tell wakes all who wait for a change.
func (s *stream) tell() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// finish ends a stream that is kept for a while.
func (h *Hub) finish(s *stream) {
	if s.ended {
		return
	}
	s.end()
	if h.streams[s.name] == s {
		s.place = h.ended.PushBack(s)
		h.expire(s, h.o.Keep)
	}
}

// expire forgets the stream after a time, unless it is told another one before.
func (h *Hub) expire(s *stream, after time.Duration) {
	if s.timer != nil {
		s.timer.Stop()
	}
	s.timer = time.AfterFunc(after, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.forget(s)
	})
}

// sizeOf returns 0 for a file that cannot be asked.
func sizeOf(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}
