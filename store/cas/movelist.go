package cas

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// uploads carries the pieces of blobs that are still on their way in.
func (m *mover) uploads(ctx context.Context) error {
	for _, u := range m.store.writers.list() {
		if err := m.upload(ctx, u); err != nil {
			return err
		}
	}
	return nil
}

func (m *mover) upload(ctx context.Context, u *upload) error {
	u.placesMu.Lock()
	defer u.placesMu.Unlock()
	places, err := m.pieces(ctx, u.key.digest, u.places)
	if errors.Is(err, errDamaged) {
		m.store.logger.Warn("a piece of an upload is damaged", "digest", u.key.digest, "error", err)
		return nil // nobody finds it right when it ends
	}
	if err == nil {
		u.places = places
	}
	return err
}

// ownList carries a list that lies in the generation.
func (m *mover) ownList(ctx context.Context, i int) error {
	rec, st := m.index.record(i), m.index.stamp(i)
	d, places, err := m.store.readListAt(m.from, rec)
	if err == nil {
		err = m.list(ctx, d, places, st)
	}
	if errors.Is(err, errDamaged) {
		m.store.condemn(m.from, rec, err)
		return nil
	}
	if err == nil {
		m.have[i] = st
	}
	return err
}

// lists carries or deletes the lists in other generations that refer to this one.
func (m *mover) lists(ctx context.Context) error {
	for _, g := range m.store.ring() {
		if g == m.from {
			continue
		}
		for _, l := range m.store.foreignLists(g, m.from.id) {
			if err := m.foreign(ctx, l); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *mover) foreign(ctx context.Context, l listRef) error {
	if m.store.closing.Load() {
		return ErrClosed
	}
	d, places, err := m.store.readListAt(l.generation, l.record)
	if err == nil && !slices.ContainsFunc(places, func(p place) bool { return p.generation == m.from.id }) {
		return nil
	}
	if err == nil && m.kill(l, false) {
		m.evicted++
		return nil
	}
	if err == nil {
		err = m.list(ctx, d, places, l.stamp)
	}
	if errors.Is(err, errDamaged) {
		m.store.condemn(l.generation, l.record, err)
		m.killedIn[l.generation] = struct{}{}
		return nil
	}
	if err == nil {
		m.kill(l, true)
	}
	return err
}

// kill makes one list dead, a protected one only when there is another for the
// same blob, which takes over its last use.
func (m *mover) kill(l listRef, replaced bool) bool {
	s := m.store
	s.ringMu.Lock()
	defer s.ringMu.Unlock()
	st := l.generation.stampOf(l.record)
	if !replaced && s.holds(st, s.now()) {
		return false
	}
	l.generation.kill(l.record)
	m.killedIn[l.generation] = struct{}{}
	if replaced && st != dead {
		s.touchElsewhereLocked(m.from, l.record, st)
	}
	return true
}

// list writes a list anew, its pieces carried out of the generation.
func (m *mover) list(ctx context.Context, d digest.Digest, places []place, st stamp) error {
	moved, err := m.pieces(ctx, d, places)
	if err != nil {
		return err
	}
	_, _, err = m.write(ctx, []packed{packList(d, moved)}, st)
	return err
}

// pieces copies those pieces that lie in the generation and returns the new
// places of all.
func (m *mover) pieces(ctx context.Context, d digest.Digest, places []place) ([]place, error) {
	var moved []place
	offset := int64(0)
	for i, p := range places {
		if p.generation == m.from.id {
			if moved == nil {
				moved = slices.Clone(places)
			}
			var err error
			if moved[i].generation, moved[i].pack, err = m.piece(ctx, d, p, offset); err != nil {
				return nil, err
			}
		}
		offset += int64(p.length)
	}
	if moved == nil {
		return places, nil
	}
	return moved, nil
}

func (m *mover) piece(ctx context.Context, d digest.Digest, p place, offset int64) (generation, pack uint32, err error) {
	buffer := m.store.buffers.get(entryHeader + int(p.length))
	defer m.store.buffers.put(buffer)
	name := d
	name.Size = offset
	err = m.from.readPack(p.pack, func(b packBody) error {
		data, err := pieceIn(b, d, offset, p.length)
		*buffer = appendEntry(*buffer, kindPiece, name, data)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	return m.write(ctx, []packed{single(*buffer)}, 0)
}

// pieceIn returns the content of a piece, which is alone in its pack.
func pieceIn(b packBody, d digest.Digest, offset int64, length uint32) ([]byte, error) {
	e, err := b.only()
	if err != nil {
		return nil, err
	}
	return e.piece(d, offset, length)
}

// piece returns the content of an entry that must be a certain piece.
func (e entry) piece(d digest.Digest, offset int64, length uint32) ([]byte, error) {
	if e.kind != kindPiece || e.digest.Function != d.Function || e.digest.Hash != d.Hash ||
		e.digest.Size != offset || len(e.data) != int(length) {
		return nil, fmt.Errorf("another piece: %w", errDamaged)
	}
	return e.data, nil
}

// readListAt reads the list that a record names, and the digest of its blob.
func (s *Store) readListAt(g *generation, r record) (d digest.Digest, places []place, err error) {
	err = g.readPack(r.pack, func(b packBody) error {
		e, err := b.only()
		if err != nil {
			return err
		}
		if e.kind != kindList || !r.same(fingerprintOf(e.digest), e.digest.Size) {
			return fmt.Errorf("another list: %w", errDamaged)
		}
		d = e.digest
		places, err = decodeList(e.data, d.Size)
		return err
	})
	return d, places, err
}
