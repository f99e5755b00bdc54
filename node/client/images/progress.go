package images

import (
	"sync"

	"github.com/bgrid-node/bgrid-node/node/client"
)

// Progress tells how far an operation on an image is; another goroutine may read
// it at any time. All methods work on a nil Progress and then do nothing.
type Progress struct {
	mu     sync.Mutex
	state  ProgressState
	upload *client.Progress // the source of the counts while it uploads
}

// ProgressState is a Progress at one moment.
type ProgressState struct {
	Phase           string // what is done: "download", "read", "write" or "upload"
	Unit            string // what Done counts: "layers", "files" or "blobs"
	Done, All       int64
	Bytes, AllBytes int64
}

// State returns the counts of the current phase.
func (p *Progress) State() ProgressState {
	if p == nil {
		return ProgressState{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.state
	if p.upload != nil {
		sent := p.upload.State()
		s.Done, s.Bytes = sent.Blobs, sent.Bytes
	}
	return s
}

// begin starts a phase.
func (p *Progress) begin(phase, unit string, all, bytes int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state, p.upload = ProgressState{Phase: phase, Unit: unit, All: all, AllBytes: bytes}, nil
}

// beginUpload starts the phase that the returned client.Progress counts.
func (p *Progress) beginUpload(blobs, bytes int64) *client.Progress {
	p.begin("upload", "blobs", blobs, bytes)
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.upload = &client.Progress{}
	return p.upload
}

func (p *Progress) read(bytes int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Bytes += bytes
}

func (p *Progress) finish(n int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Done += n
}
