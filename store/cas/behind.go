package cas

import (
	"context"
	"fmt"
)

// behind is a piece that is stored while the upload takes and hashes the next one.
// There is one at most. The goroutine that stores it belongs to the upload: every
// call that goes on with the upload or ends its use of it waits for done first.
type behind struct {
	buffer *[]byte
	done   chan struct{} // closed when err is set
	err    error         // why it is not stored
}

// flush lets the current piece be stored. When there is no room for it, or the one
// before could not be stored, it stays as it is.
func (u *upload) flush(w *Writer) error {
	if u.buffer == nil || len(*u.buffer) == entryHeader {
		return nil
	}
	if err := u.catchUp(w); err != nil {
		return err
	}
	s, cost := w.store, u.cost()
	if err := s.space.reserve(w.ctx, w.class, cost); err != nil {
		return err
	}
	b := &behind{buffer: u.buffer, done: make(chan struct{})}
	u.buffer, u.behind = nil, b
	ctx := w.ctx
	go func() {
		defer close(b.done)
		defer s.space.release(cost)
		b.err = u.storePiece(ctx, s, *b.buffer)
	}()
	return nil
}

func (u *upload) cost() int64 { return int64(len(*u.buffer) + packOverhead) }

// catchUp waits until the piece behind is stored. When that went wrong it is tried
// once more, and the error is this call's.
func (u *upload) catchUp(w *Writer) error {
	b := u.behind
	if b == nil {
		return nil
	}
	<-b.done
	if b.err != nil {
		cost := int64(len(*b.buffer) + packOverhead)
		if err := w.store.space.reserve(w.ctx, w.class, cost); err != nil {
			return err
		}
		b.err = u.storePiece(w.ctx, w.store, *b.buffer)
		w.store.space.release(cost)
	}
	if b.err != nil {
		return b.err
	}
	u.behind = nil
	w.store.buffers.put(b.buffer)
	return nil
}

// storePiece commits a piece and notes its place in one step for the cleaner,
// which looks for places in generations that it is about to drop.
func (u *upload) storePiece(ctx context.Context, s *Store, pack []byte) error {
	sealEntry(pack)
	u.placesMu.Lock()
	defer u.placesMu.Unlock()
	generation, first, err := s.lanes[laneFresh].commit(ctx, []packed{single(pack)}, s.now())
	if err != nil {
		return fmt.Errorf("store a piece of blob %s: %w", u.key.digest, err)
	}
	u.places = append(u.places, place{generation: generation, pack: first, length: uint32(len(pack) - entryHeader)})
	s.counters.written.Add(int64(len(pack)))
	return nil
}

// storeRest stores what an upload that comes to rest has in memory, if there is
// room. What is not stored waits in memory.
func (u *upload) storeRest(w *Writer) {
	if u.behind != nil {
		<-u.behind.done
	}
	s := w.store
	if s.closing.Load() || u.buffer == nil && u.behind == nil || !s.space.hasRoom(w.class, 2*pieceBuffer) {
		return
	}
	_ = u.flush(w)
	_ = u.catchUp(w)
}
