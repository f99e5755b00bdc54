package placement

import (
	"context"
	"sync"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// align finds where an upload goes on that some members know. Those that have
// nothing of it get a copy in the end.
func (w *writer) align() {
	w.at = resumeAt(len(w.targets), func(i int) int64 { return w.targets[i].w.Offset() }, w.digest.Size)
	for _, t := range w.targets {
		if t.w.Offset() < w.at {
			w.drop(t)
		}
	}
}

// resumeAt returns the least of the offsets that are neither nothing nor all.
func resumeAt(n int, offset func(int) int64, size int64) int64 {
	at := int64(0)
	for i := range n {
		if o := offset(i); o > 0 && o < size && (at == 0 || o < at) {
			at = o
		}
	}
	return at
}

// UploadStatus tells how many bytes of an upload its owners have, and whether the
// blob is there already (ByteStream QueryWriteStatus). known is false when they know
// neither.
func (b *Blobs) UploadStatus(ctx context.Context, d digest.Digest, id string) (offset int64, complete, known bool, err error) {
	v := b.view.Load()
	if v.alone() || d.IsEmpty() {
		return b.local.UploadStatus(ctx, d, id)
	}
	present, err := b.Present(ctx, d)
	if err != nil || present {
		return d.Size, present, present, err
	}
	var buf [maxMembers]int
	owners := v.takers(&d, buf[:0])[:v.wanted()]
	offsets := make([]int64, len(owners))
	var wg sync.WaitGroup
	for i, at := range owners {
		m := v.members[at]
		wg.Go(func() { // an error is the same as nothing
			if m.self {
				offsets[i], _, _, _ = b.local.UploadStatus(ctx, d, id)
			} else {
				offsets[i], _, _ = m.uploadStatus(ctx, d, id)
			}
		})
	}
	wg.Wait()
	offset = resumeAt(len(offsets), func(i int) int64 { return offsets[i] }, d.Size)
	return offset, false, offset > 0, nil
}
