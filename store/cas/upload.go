package cas

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// uploadKey names an upload: two of the same id but of other blobs are two.
type uploadKey struct {
	id     string
	digest digest.Digest
}

// upload is a blob on its way in. What turn guards belongs to the call that has
// it; the cleaner, which must not wait for a call that waits for it, takes
// placesMu alone.
type upload struct {
	key       uploadKey
	turn      chan struct{} // holds a token while a call works
	owner     *Writer       // the call that may write; guarded by turn
	over      bool          // committed or given up; guarded by turn
	trusted   bool          // the hash was checked before
	hash      hash.Hash
	buffer    *[]byte // an entry that grows: of the next piece or of a small blob
	behind    *behind // the piece before it, while that is not known to be stored
	offset    atomic.Int64
	committed atomic.Bool

	placesMu sync.Mutex
	places   []place

	// Guarded by the writerSet's mutex.
	holders int
	idle    time.Time // since when nobody holds it
	kept    int64     // bytes in pieces, when it became idle
	memory  int64     // bytes of buffer, then
}

func newUpload(key uploadKey) *upload {
	return &upload{key: key, turn: make(chan struct{}, 1), hash: key.digest.Function.New()}
}

// begin takes the turn; end gives it back.
func (u *upload) begin(ctx context.Context) error {
	select {
	case u.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (u *upload) end() { <-u.turn }

func (u *upload) whole() bool { return u.key.digest.Size <= maxWhole }

// fill takes bytes until the current piece is full, which then is stored.
func (u *upload) fill(w *Writer, p []byte) (int, error) {
	d, at := u.key.digest, u.offset.Load()
	if u.buffer == nil {
		u.open(&w.store.buffers, at)
	}
	room := len(p)
	if !u.whole() {
		if room = pieceBytes + entryHeader - len(*u.buffer); room == 0 { // the store was full when it became so
			return 0, u.flush(w)
		}
	}
	n := min(room, len(p))
	*u.buffer = append(*u.buffer, p[:n]...)
	if !u.trusted {
		u.hash.Write(p[:n])
	}
	u.offset.Add(int64(n))
	if !u.whole() && n == room || at+int64(n) == d.Size && !u.whole() {
		return n, u.flush(w)
	}
	return n, nil
}

// open begins the entry of a small blob or of the piece at an offset.
func (u *upload) open(pools *buffers, at int64) {
	k, d, size := kindBlob, u.key.digest, int64(pieceBytes)
	if u.whole() {
		size = d.Size
	} else {
		k, d.Size = kindPiece, at
	}
	u.buffer = pools.get(entryHeader + int(size))
	*u.buffer = appendHeader(*u.buffer, k, d, 0)
}

// sealEntry writes length and checksum into the header of the entry that has grown.
func sealEntry(pack []byte) {
	binary.LittleEndian.PutUint32(pack[4:], uint32(len(pack)-entryHeader))
	sealHeader(pack, pack[entryHeader:])
}

// freeBuffers gives back what is in memory. Whoever stores some of it is waited
// for.
func (u *upload) freeBuffers(pools *buffers) {
	if u.behind != nil {
		<-u.behind.done
		pools.put(u.behind.buffer)
		u.behind = nil
	}
	if u.buffer != nil {
		pools.put(u.buffer)
		u.buffer = nil
	}
}

// commit makes the blob present when it is what the digest names.
func (u *upload) commit(w *Writer) error {
	d := u.key.digest
	if u.offset.Load() != d.Size || !u.trusted && [32]byte(u.hash.Sum(nil)) != d.Hash {
		return ErrMismatch
	}
	if ok, err := w.store.Present(w.ctx, d); err != nil || ok {
		return err
	}
	if u.whole() {
		return u.commitWhole(w)
	}
	if err := u.flush(w); err != nil {
		return err
	}
	if err := u.catchUp(w); err != nil {
		return err
	}
	return u.commitList(w)
}

func (u *upload) commitWhole(w *Writer) error {
	s, d := w.store, u.key.digest
	pack := *u.buffer
	sealEntry(pack)
	cost := int64(len(pack) + recordOverhead + packOverhead)
	if err := s.space.reserve(w.ctx, w.class, cost); err != nil {
		return err
	}
	defer s.space.release(cost)
	one := single(pack, record{fp: fingerprintOf(d), size: d.Size, kind: kindBlob})
	if _, _, err := s.lanes[laneFresh].commit(w.ctx, []packed{one}, s.now()); err != nil {
		return fmt.Errorf("store blob %s: %w", d, err)
	}
	s.counters.written.Add(int64(len(pack)))
	return nil
}

// commitList writes the list. From the moment that it is indexed the cleaner
// finds the pieces by it, until then by places.
func (u *upload) commitList(w *Writer) error {
	s, d := w.store, u.key.digest
	cost := listCost(len(u.places))
	if err := s.space.reserve(w.ctx, w.class, cost); err != nil {
		return err
	}
	defer s.space.release(cost)
	u.placesMu.Lock()
	defer u.placesMu.Unlock()
	if _, _, err := s.lanes[laneFresh].commit(w.ctx, []packed{packList(d, u.places)}, s.now()); err != nil {
		return fmt.Errorf("store the list of blob %s: %w", d, err)
	}
	return nil
}

// listCost is what a list takes on the disk, about.
func listCost(places int) int64 {
	return int64(entryHeader + listHeader + placeBytes*places + recordOverhead + packOverhead)
}

// packList makes a pack of one list.
func packList(d digest.Digest, places []place) packed {
	data := encodeList(places)
	p := single(appendEntry(make([]byte, 0, entryHeader+len(data)), kindList, d, data),
		record{fp: fingerprintOf(d), size: d.Size, kind: kindList})
	p.places = places
	return p
}

// single makes a pack of one entry.
func single(entry []byte, records ...record) packed {
	return packed{parts: [][]byte{entry}, size: int64(len(entry)), records: records}
}

// finish ends an upload for good. The caller has the turn.
func (u *upload) finish(s *Store) {
	u.over = true
	u.freeBuffers(&s.buffers)
	s.writers.forget(u)
}

// rest ends one call's use of the upload. The bytes of an unfinished piece are
// stored so that no memory waits with it.
func (u *upload) rest(w *Writer) {
	s := w.store
	w.store = nil
	_ = u.begin(context.Background())
	if u.owner == w && !u.over && !u.whole() {
		u.storeRest(&Writer{store: s, ctx: context.WithoutCancel(w.ctx), class: w.class, up: u})
	}
	u.end()
	s.writers.leave(s, u)
}
