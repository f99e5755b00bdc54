package cas

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// longestScrubPause bounds how slowly a store is read that was nearly empty when
// the round began.
const longestScrubPause = time.Minute

// scrub reads everything once in each interval, evenly, and takes out what has
// rotted. A round begins at a random generation: a store that is restarted often
// is read as a whole nevertheless.
func (s *Store) scrub() {
	if s.opt.ScrubInterval < 0 {
		<-s.done
		return
	}
	for s.scrubRound() {
	}
}

// scrubRound reads every generation and tells whether to go on.
func (s *Store) scrubRound() bool {
	begun := time.Now()
	gens := slices.Clone(s.ring())
	rand.Shuffle(len(gens), func(i, j int) { gens[i], gens[j] = gens[j], gens[i] })
	total := int64(1)
	for _, g := range gens {
		total += g.use()
	}
	perByte := float64(s.opt.ScrubInterval) / float64(total)
	for _, g := range gens {
		if s.pin(g.id) != g { // dropped meanwhile; pin takes no hold then
			continue
		}
		g.pins.Done()
		if !s.scrubGeneration(g.id, perByte) {
			return false
		}
	}
	s.counters.scrubs.Add(1)
	return s.rest(time.Until(begun.Add(s.opt.ScrubInterval)))
}

// rest waits, and tells whether the store is still open.
func (s *Store) rest(d time.Duration) bool {
	select {
	case <-s.done:
		return false
	case <-time.After(max(d, time.Millisecond)):
		return true
	}
}

// scrubGeneration reads the packs of one generation, which is pinned for each of
// them alone so that it may be dropped at any time.
func (s *Store) scrubGeneration(id uint32, perByte float64) bool {
	for pack := uint32(0); ; pack++ {
		g := s.pin(id)
		if g == nil || pack >= g.nextPack.Load() {
			if g != nil {
				g.pins.Done()
			}
			return true
		}
		n := s.scrubPack(g, pack)
		g.pins.Done()
		s.counters.scrubbed.Add(int64(n))
		if !s.rest(min(time.Duration(float64(n)*perByte), longestScrubPause)) {
			return false
		}
	}
}

// scrubPack reads one pack against its checksum and its blobs against their
// hashes, and returns its size.
func (s *Store) scrubPack(g *generation, pack uint32) (n int) {
	err := g.readPack(pack, func(b packBody) error {
		n = len(b.data)
		return b.entries(verifyEntry)
	})
	if err == nil || !errors.Is(err, errDamaged) || s.closing.Load() {
		return n
	}
	for _, r := range s.recordsIn(g, pack) {
		if r.kind == kindBlob && g.readBlob(r, verifyEntry) == nil { // another one in the pack is damaged
			continue
		}
		s.condemn(g, r, err)
	}
	s.condemnLists(place{generation: g.id, pack: pack}, err)
	return n
}

func verifyEntry(e entry) error {
	switch e.kind {
	case kindBlob:
		if int64(len(e.data)) != e.digest.Size || !e.digest.Function.Supported() || e.digest.Function.Sum(e.data) != e.digest.Hash {
			return fmt.Errorf("blob %s has another content: %w", e.digest, errDamaged)
		}
	case kindList:
		_, err := decodeList(e.data, e.digest.Size)
		return err
	}
	return nil
}

// recordsIn returns the living records of one pack. It reads the whole index.
func (s *Store) recordsIn(g *generation, pack uint32) []record {
	var out []record
	s.each(g, func(r record, st stamp) {
		if r.pack == pack && st != dead {
			out = append(out, r)
		}
	})
	return out
}

// each visits the records of a generation.
func (s *Store) each(g *generation, visit func(record, stamp)) {
	v := s.view(g)
	defer v.release()
	for _, m := range v.memory {
		for _, slot := range sortedSlots(m) {
			visit(slot.rec, slot.stamp.Load())
		}
	}
	for _, r := range v.runs {
		for i := range r.n {
			visit(r.record(i), r.stamp(i))
		}
	}
}

// condemnLists takes out the large blob that has a piece at a place, if one has.
// It reads the lists of the whole store, which is seldom needed: a pack without
// records is a piece, or nobody needs it.
func (s *Store) condemnLists(bad place, why error) {
	for _, g := range s.ring() {
		if s.pin(g.id) != g {
			continue
		}
		s.each(g, func(r record, st stamp) {
			if r.kind != kindList || st == dead || g.id == bad.generation && r.pack < bad.pack {
				return
			}
			_, places, err := s.readListAt(g, r)
			if err == nil && slices.ContainsFunc(places, func(p place) bool {
				return p.generation == bad.generation && p.pack == bad.pack
			}) {
				s.condemn(g, r, why)
			}
		})
		g.pins.Done()
	}
}
