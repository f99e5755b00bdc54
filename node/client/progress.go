package client

import "sync/atomic"

// Progress counts a transfer as it goes; another goroutine may read it at any
// time. All methods work on a nil Progress and then do nothing.
type Progress struct {
	doneBlobs, allBlobs atomic.Int64
	doneBytes, allBytes atomic.Int64
}

// ProgressState is a Progress at one moment. The totals grow while a tree is
// still being discovered.
type ProgressState struct {
	Blobs, AllBlobs int64
	Bytes, AllBytes int64
}

// State returns the counts now.
func (p *Progress) State() ProgressState {
	if p == nil {
		return ProgressState{}
	}
	return ProgressState{
		Blobs: p.doneBlobs.Load(), AllBlobs: p.allBlobs.Load(),
		Bytes: p.doneBytes.Load(), AllBytes: p.allBytes.Load(),
	}
}

func (p *Progress) plan(blobs, bytes int64) {
	if p != nil {
		p.allBlobs.Add(blobs)
		p.allBytes.Add(bytes)
	}
}

func (p *Progress) moved(bytes int64) {
	if p != nil {
		p.doneBytes.Add(bytes)
	}
}

func (p *Progress) finished(blobs int64) {
	if p != nil {
		p.doneBlobs.Add(blobs)
	}
}
