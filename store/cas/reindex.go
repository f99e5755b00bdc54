package cas

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// verifyIndexes reads the indexes of the sealed generations once, soon after the
// start, and makes damaged ones again. At the start itself there is no time.
func (s *Store) verifyIndexes() {
	const pause = 50 * time.Millisecond
	for _, g := range s.ring() {
		if !s.rest(pause) {
			return
		}
		if err := s.verifyIndex(g); err != nil {
			s.logger.Error("make an index again", "generation", g.id, "error", err)
		}
	}
}

func (s *Store) verifyIndex(g *generation) error {
	s.reshape.Lock()
	defer s.reshape.Unlock()
	if !g.droppable.Load() || s.pin(g.id) != g {
		return nil
	}
	defer g.pins.Done()
	v := s.view(g)
	defer v.release()
	for _, r := range v.runs {
		err := guard(r.verify)
		if err == nil {
			continue
		}
		s.logger.Warn("an index is damaged and made again", "generation", g.id, "error", err)
		return s.reindex(g, r)
	}
	return nil
}

// reindex makes the index of a sealed generation from its packs. What was dead
// may be back, which the checks on reading find; times of use are lost, so
// everything counts as used now.
func (s *Store) reindex(g *generation, old *run) error {
	m, err := s.indexPacks(g)
	if err != nil {
		return err
	}
	// The file is replaced under a name that no other index of it has.
	if err := ignoreAbsent(os.Remove(filepath.Join(g.dir, sealedMarker))); err != nil {
		return err
	}
	b, err := buildRun(g.dir, g.id, 0, old.lastPack, []source{sortedSlots(m)})
	if err != nil {
		return err
	}
	s.ringMu.Lock()
	g.runs = []*run{b.run}
	g.blobs.Store(int64(b.run.n))
	g.logical.Store(b.run.logical)
	s.ringMu.Unlock()
	old.release()
	s.counters.reindexed.Add(1)
	s.lossEpoch.Add(1) // until now it may have answered wrongly
	return writeMarker(g.dir, sealedMarker)
}

// indexPacks reads every pack of a generation. Lists are taken when all their
// pieces can be read.
func (s *Store) indexPacks(g *generation) (*memIndex, error) {
	m, now := newMemIndex(), s.now()
	var lists []entry
	err := g.eachPack(0, func(pack uint32, body packBody) error {
		err := body.entries(func(e entry) error {
			switch e.kind {
			case kindBlob:
				m.insert([]record{e.record(pack)}, nil, now)
			case kindList:
				e.data = append(packKey(pack), e.data...)
				lists = append(lists, e)
			}
			return nil
		})
		if errors.Is(err, errDamaged) { // what is right in it was taken
			return nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read generation %d: %w", g.id, err)
	}
	for _, e := range lists {
		pack, _ := parsePackKey(e.data[:5])
		places, err := decodeList(e.data[5:], e.digest.Size)
		if err == nil {
			err = s.piecesReadable(e, places)
		}
		if errors.Is(err, errDamaged) || errors.Is(err, errMoved) {
			continue
		}
		if err != nil {
			return nil, err
		}
		r := e.record(pack)
		r.back = backOf(g.id, places)
		m.insert([]record{r}, nil, now)
	}
	return m, nil
}

func (s *Store) piecesReadable(e entry, places []place) error {
	offset := int64(0)
	for _, p := range places {
		if err := s.readPiece(p, e.digest, offset, func([]byte) {}); err != nil {
			return err
		}
		offset += int64(p.length)
	}
	return nil
}
