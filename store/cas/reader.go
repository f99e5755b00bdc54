package cas

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Reader reads one blob, piece by piece. It holds no lock and no place in the
// store between calls, and keeps the blob protected while it is read. It is for
// one goroutine.
type Reader struct {
	store  *Store
	ctx    context.Context //nolint:containedctx // as of an HTTP body: reads belong to the call that opened it
	digest digest.Digest
	places []place // nil for a blob that is stored whole
	next   int     // of places
	skip   int64   // bytes of the next piece that were asked to be left out
	at     int64   // offset of the next byte
	left   []byte  // handed out by Read in parts
	used   stamp
}

// Reader opens a blob at an offset in bytes. ErrNotFound when it is not there;
// an offset beyond its end is an error, at its end gives io.EOF at once.
func (s *Store) Reader(ctx context.Context, d digest.Digest, offset int64) (*Reader, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	if offset < 0 || offset > d.Size {
		return nil, fmt.Errorf("read blob %s: the offset %d is not within it", d, offset)
	}
	r := &Reader{store: s, ctx: ctx, digest: d, at: offset}
	if err := r.resolve(); err != nil {
		return nil, err
	}
	return r, nil
}

// resolve finds the blob and the piece at the current offset.
func (r *Reader) resolve() error {
	if r.digest.IsEmpty() {
		return nil
	}
	if r.digest.Size <= maxWhole {
		ok, err := r.store.Present(r.ctx, r.digest)
		if err == nil && !ok {
			err = ErrNotFound
		}
		return err
	}
	places, err := r.store.list(r.digest)
	if err != nil {
		return err
	}
	r.places, r.next, r.skip = places, 0, r.at
	r.used = r.store.now()
	for r.next < len(places) && r.skip >= int64(places[r.next].length) {
		r.skip -= int64(places[r.next].length)
		r.next++
	}
	return nil
}

// list reads the list of a large blob and protects it. ErrNotFound when it is
// not there. A damaged one is quarantined.
func (s *Store) list(d digest.Digest) ([]place, error) {
	for {
		h, ok := s.lookup(d, s.now())
		if !ok {
			return nil, ErrNotFound
		}
		places, err := readList(h.generation, h.record, d)
		if errors.Is(err, errDamaged) {
			s.quarantine(h, d, err)
			h.release()
			continue
		}
		h.release()
		if err != nil {
			return nil, fmt.Errorf("read the list of blob %s: %w", d, err)
		}
		return places, nil
	}
}

func readList(g *generation, r record, d digest.Digest) (places []place, err error) {
	err = g.readPack(r.pack, func(b packBody) error {
		e, err := b.only()
		if err != nil {
			return err
		}
		if e.kind != kindList || e.digest != d {
			return fmt.Errorf("another list: %w", errDamaged)
		}
		places, err = decodeList(e.data, d.Size)
		return err
	})
	return places, err
}

// Next returns the next piece, which the caller owns; io.EOF at the end.
func (r *Reader) Next() ([]byte, error) {
	if len(r.left) > 0 {
		piece := r.left
		r.left = nil
		return piece, nil
	}
	if r.places == nil {
		return r.whole()
	}
	var piece []byte
	err := r.piece(func(data []byte) {
		piece = append(piece, data...)
	})
	return piece, err
}

// Read fills p. It copies straight from the store when p takes a whole piece
// (PieceBytes are always enough).
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.left) > 0 {
		n := copy(p, r.left)
		r.left = r.left[n:]
		return n, nil
	}
	if n, direct := r.straight(); direct && n <= len(p) {
		return n, r.listed(func(place place, offset int64) error { return r.store.readPieceInto(place, r.digest, offset, p[:n]) })
	}
	n := 0
	err := r.piece(func(data []byte) {
		n = copy(p, data)
		r.left = append(r.left, data[n:]...)
	})
	return n, err
}

// straight tells whether the next bytes are a whole piece, and its length.
func (r *Reader) straight() (n int, ok bool) {
	if r.places == nil || r.next >= len(r.places) || r.skip > 0 {
		return 0, false
	}
	return int(r.places[r.next].length), true
}

// whole returns the rest of a blob that is stored whole.
func (r *Reader) whole() ([]byte, error) {
	if r.at >= r.digest.Size {
		return nil, io.EOF
	}
	data, err := r.store.Get(r.ctx, r.digest)
	if err != nil {
		return nil, err
	}
	data = data[r.at:]
	r.at = r.digest.Size
	return data, nil
}

// PieceBytes is the size of a buffer into which Read copies without detours.
const PieceBytes = pieceBytes

// WriteTo writes what is left of the blob.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	var n int64
	for {
		piece, err := r.Next()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		m, err := w.Write(piece)
		n += int64(m)
		if err != nil {
			return n, err
		}
	}
}

// Close ends the reading. It never fails.
func (r *Reader) Close() error {
	r.left, r.places, r.at = nil, nil, r.digest.Size
	return nil
}

// piece hands the bytes from the current offset to the end of their piece to
// take.
func (r *Reader) piece(take func([]byte)) error {
	if err := r.store.usable(r.ctx); err != nil {
		return err
	}
	if r.at >= r.digest.Size {
		return io.EOF
	}
	if r.places == nil {
		data, err := r.whole()
		take(data)
		return err
	}
	return r.listed(func(p place, offset int64) error {
		return r.store.readPiece(p, r.digest, offset, func(data []byte) { take(data[r.skip:]) })
	})
}

// listed reads the next piece of a blob in pieces. When its place is gone because
// the cleaner moved the blob, the list is read again.
func (r *Reader) listed(read func(p place, offset int64) error) error {
	r.keep()
	for range 100 {
		p := r.places[r.next]
		err := read(p, r.at-r.skip)
		if err == nil {
			r.at += int64(p.length) - r.skip
			r.next, r.skip = r.next+1, 0
			return nil
		}
		if !errors.Is(err, errMoved) && !errors.Is(err, errDamaged) {
			return fmt.Errorf("read blob %s at %d: %w", r.digest, r.at, err)
		}
		if errors.Is(err, errDamaged) {
			r.store.quarantineList(r.digest, p, err)
		}
		if err := r.resolve(); err != nil {
			return err
		}
		if errors.Is(err, errMoved) && r.places[r.next] == p { // nobody moved it
			r.store.quarantineList(r.digest, p, err)
		}
	}
	return fmt.Errorf("read blob %s at %d: it keeps moving", r.digest, r.at)
}

// keep renews the protection of a blob that is read slowly.
func (r *Reader) keep() {
	if now := r.store.now(); r.store.worthWriting(r.used, now) {
		_, _ = r.store.Present(r.ctx, r.digest)
		r.used = now
	}
}

// errMoved says that a generation is not there any more.
var errMoved = errors.New("the generation was dropped")

// readPiece hands the piece that begins at offset of blob d to take.
func (s *Store) readPiece(p place, d digest.Digest, offset int64, take func([]byte)) error {
	g := s.pin(p.generation)
	if g == nil {
		return errMoved
	}
	defer g.pins.Done()
	return g.readPack(p.pack, func(b packBody) error {
		data, err := pieceIn(b, d, offset, p.length)
		if err == nil {
			take(data)
		}
		return err
	})
}

// readPieceInto is readPiece into memory of the piece's length, without a copy
// when it lies in the data file. On an error into holds anything.
func (s *Store) readPieceInto(p place, d digest.Digest, offset int64, into []byte) error {
	g := s.pin(p.generation)
	if g == nil {
		return errMoved
	}
	defer g.pins.Done()
	return g.readPackInto(p.pack, into, func(e entry) error {
		_, err := e.piece(d, offset, p.length)
		return err
	})
}

// quarantineList makes a large blob with a damaged piece missing, unless it has
// got another list meanwhile.
func (s *Store) quarantineList(d digest.Digest, bad place, why error) {
	h, ok := s.lookup(d, 0)
	if !ok {
		return
	}
	defer h.release()
	places, err := readList(h.generation, h.record, d)
	if err != nil {
		why = err
	} else {
		for _, p := range places {
			if p == bad {
				s.quarantine(h, d, why)
				return
			}
		}
		return
	}
	s.quarantine(h, d, why)
}
