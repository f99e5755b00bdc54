package cas

import (
	"sync"
	"time"
)

// Bounds of partial uploads that nobody is writing.
const (
	// UploadAge is how long one is kept to be resumed.
	UploadAge       = time.Hour
	maxIdleUploads  = 4096
	maxIdleMemory   = 8 << 20 // bytes of small blobs and of unfinished pieces
	idleShareOfRing = 8       // their pieces take at most this part of the cap
	retryNever      = time.Hour
)

// writerSet knows every upload: those with an id by their key, so that they can
// be resumed, and all of them for the cleaner.
type writerSet struct {
	mu    sync.Mutex
	all   map[*upload]struct{}
	byKey map[uploadKey]*upload
}

// take returns the upload of a key, or a new one, held by one more call.
func (ws *writerSet) take(key uploadKey) *upload {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	u := ws.byKey[key]
	if u == nil || key.id == "" {
		u = newUpload(key)
		if ws.all == nil {
			ws.all, ws.byKey = make(map[*upload]struct{}), make(map[uploadKey]*upload)
		}
		ws.all[u] = struct{}{}
		if key.id != "" {
			ws.byKey[key] = u
		}
	}
	u.holders++
	return u
}

// leave ends one call's hold; whoever is idle too long or too many is given up.
func (ws *writerSet) leave(s *Store, u *upload) {
	ws.mu.Lock()
	if u.holders--; u.holders == 0 {
		u.idle, u.kept, u.memory = time.Now(), u.offset.Load(), 0
		if u.buffer != nil {
			u.hold(u.buffer)
		}
		if u.behind != nil {
			u.hold(u.behind.buffer)
		}
	}
	ws.mu.Unlock()
	ws.expire(s)
}

// hold counts what waits in memory instead of on the disk.
func (u *upload) hold(buffer *[]byte) {
	u.memory += int64(cap(*buffer))
	u.kept -= int64(len(*buffer) - entryHeader)
}

// forget drops an upload that is over.
func (ws *writerSet) forget(u *upload) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.forgetLocked(u)
}

func (ws *writerSet) forgetLocked(u *upload) {
	delete(ws.all, u)
	if ws.byKey[u.key] == u {
		delete(ws.byKey, u.key)
	}
}

// expire gives up uploads that nobody holds: those that are too old, then the
// oldest until the rest is within the bounds.
func (ws *writerSet) expire(s *Store) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for {
		var oldest *upload
		var n int
		var kept, memory int64
		for u := range ws.all {
			if u.holders > 0 {
				continue
			}
			n, kept, memory = n+1, kept+u.kept, memory+u.memory
			if oldest == nil || u.idle.Before(oldest.idle) {
				oldest = u
			}
		}
		if oldest == nil || time.Since(oldest.idle) < UploadAge && n <= maxIdleUploads &&
			memory <= maxIdleMemory && kept <= s.opt.MaxBytes/idleShareOfRing {
			return
		}
		ws.forgetLocked(oldest) // nobody holds it: its buffer is ours
		oldest.freeBuffers(&s.buffers)
		s.counters.abandoned.Add(1)
	}
}

// offset returns how far an upload came.
func (ws *writerSet) offset(key uploadKey) (int64, bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	u := ws.byKey[key]
	if u == nil {
		return 0, false
	}
	return u.offset.Load(), true
}

func (ws *writerSet) count() int {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return len(ws.all)
}

// list returns every upload.
func (ws *writerSet) list() []*upload {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	out := make([]*upload, 0, len(ws.all))
	for u := range ws.all {
		out = append(out, u)
	}
	return out
}
