package cas

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// load finds the generations that an earlier life left: sealed ones are only
// mapped, open ones are opened and what came after their last spill is indexed
// again.
func (s *Store) load(ctx context.Context) error {
	names, err := os.ReadDir(s.opt.Dir)
	if err != nil {
		return err
	}
	var open []*generation
	for _, e := range names {
		if strings.HasSuffix(e.Name(), deadSuffix) || exists(filepath.Join(s.opt.Dir, e.Name(), deadMarker)) {
			s.finishDrop(filepath.Join(s.opt.Dir, e.Name()))
			continue
		}
		id, k, ok := parseGenerationName(e.Name())
		if !ok {
			continue
		}
		s.nextID.Store(max(s.nextID.Load(), id))
		g := s.newGeneration(id, k)
		if err := s.loadRuns(g); err != nil {
			return err
		}
		s.gens = append(s.gens, g)
		if err := g.openData(); err != nil {
			return err
		}
		g.sealed.Store(len(g.runs) == 1 && exists(filepath.Join(g.dir, sealedMarker)))
		g.droppable.Store(g.sealed.Load())
		if !g.sealed.Load() {
			open = append(open, g)
		}
	}
	slices.SortFunc(s.gens, func(a, b *generation) int { return int(b.id) - int(a.id) })
	if err := s.reopen(ctx, open); err != nil {
		return err
	}
	for _, g := range s.gens {
		g.measure()
		g.appended.Store(g.disk.Load())
	}
	return nil
}

// finishDrop deletes a generation whose drop was cut short.
func (s *Store) finishDrop(dir string) {
	size := diskUse(dir)
	s.space.outside.Add(size)
	s.tasks.Go(func() {
		if err := removeDead(dir); err != nil {
			s.logger.Warn("delete a dropped generation", "dir", dir, "error", err)
			return
		}
		s.space.outside.Add(-size)
	})
}

// loadRuns maps the index files of a generation and deletes those that a merge
// replaced.
func (s *Store) loadRuns(g *generation) error {
	names, err := os.ReadDir(g.dir)
	if err != nil {
		return err
	}
	var runs []*run
	sealed := exists(filepath.Join(g.dir, sealedMarker))
	for _, e := range names {
		if _, _, ok := parseRunName(e.Name()); !ok {
			continue
		}
		r, err := openRun(filepath.Join(g.dir, e.Name()), s.now())
		if err == nil && !sealed { // there are few, and what is written next builds on them
			if err = guard(r.verify); err != nil {
				r.release()
			}
		}
		if errors.Is(err, errIndexDamaged) || errors.Is(err, errDamaged) {
			s.logger.Warn("an index is damaged and made again", "generation", g.id, "error", err)
			_ = os.Remove(filepath.Join(g.dir, e.Name()))
			_ = os.Remove(filepath.Join(g.dir, sealedMarker))
			continue
		}
		if err != nil {
			return err
		}
		runs = append(runs, r)
	}
	slices.SortFunc(runs, func(a, b *run) int { // of those that begin alike the longest first
		if a.firstPack != b.firstPack {
			return int(int64(a.firstPack) - int64(b.firstPack))
		}
		return int(int64(b.lastPack) - int64(a.lastPack))
	})
	next := uint32(0)
	for i, r := range runs {
		if r.firstPack != next { // inside one that is there already, or behind a gap
			errs := errors.Join(r.remove())
			r.release()
			if errs != nil {
				return errs
			}
			runs[i] = nil
			continue
		}
		g.runs = append(g.runs, r)
		g.blobs.Add(int64(r.n))
		g.logical.Add(r.logical)
		next = r.lastPack + 1
	}
	g.spilled = next
	g.nextPack.Store(next)
	return removeStray(g)
}

// removeStray deletes what a crash left half made in a generation.
func removeStray(g *generation) error {
	names, err := os.ReadDir(g.dir)
	if err != nil {
		return err
	}
	for _, e := range names {
		index := strings.TrimSuffix(e.Name(), ".uses")
		stray := strings.HasSuffix(e.Name(), ".new") ||
			index != e.Name() && !slices.ContainsFunc(g.runs, func(r *run) bool { return r.name() == index })
		if stray {
			if err := os.Remove(filepath.Join(g.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// reopen opens unsealed generations. The newest of each lane becomes current;
// the others are sealed in the background.
func (s *Store) reopen(ctx context.Context, open []*generation) error {
	slices.SortFunc(open, func(a, b *generation) int { return int(b.id) - int(a.id) })
	broken := make(map[*generation]error)
	for _, g := range open {
		if err := g.openWritable(); err != nil {
			if beyondUs(err) {
				return err
			}
			broken[g] = err
		}
		g.active = newMemIndex()
	}
	for g, why := range broken {
		open = slices.DeleteFunc(open, func(other *generation) bool { return other == g })
		if err := s.giveUp(g, why); err != nil {
			return err
		}
	}
	// Lists may refer to other generations: all packs first, then the lists.
	lists := make(map[*generation][]entry)
	for _, g := range open {
		found, err := s.replay(ctx, g)
		if err != nil {
			return err
		}
		lists[g] = found
	}
	for _, g := range open {
		if err := s.recoverLists(g, lists[g]); err != nil {
			return err
		}
		if l := s.lanes[g.lane]; l.current == nil {
			l.current = g
		} else {
			s.toSeal <- g
		}
	}
	return nil
}

// replay indexes the packs after the last spill. What a power loss damaged is
// left out. It returns the lists, which are looked at when all packs are known.
func (s *Store) replay(ctx context.Context, g *generation) ([]entry, error) {
	var lists []entry
	now, next := s.now(), g.spilled
	lost := 0
	err := g.eachPack(next, func(pack uint32, body packBody) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		g.nextPack.Store(pack + 1)
		g.appended.Add(int64(len(body.data)))
		err := body.entries(func(e entry) error {
			lists = g.recoverEntry(lists, pack, e, now)
			return nil
		})
		if err != nil {
			lost++
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("recover generation %d: %w", g.id, err)
	}
	if lost > 0 {
		s.logger.Warn("packs were lost, as after a power loss", "generation", g.id, "packs", lost)
	}
	if g.appended.Load() > 0 {
		g.logs.recovered()
	}
	g.sinceSpill.Store(g.appended.Load())
	return lists, nil
}

// recoverEntry indexes a blob or remembers a list.
func (g *generation) recoverEntry(lists []entry, pack uint32, e entry, at stamp) []entry {
	r := e.record(pack)
	switch e.kind {
	case kindBlob:
		g.active.insert([]record{r}, nil, at)
		g.blobs.Add(1)
		g.logical.Add(r.size)
	case kindList:
		e.data = append(packKey(pack), e.data...) // the pack's number goes along
		lists = append(lists, e)
	}
	return lists
}

// recoverLists indexes the lists all of whose pieces are there.
func (s *Store) recoverLists(g *generation, lists []entry) error {
	for _, e := range lists {
		pack, _ := parsePackKey(e.data[:5])
		places, err := decodeList(e.data[5:], e.digest.Size)
		if err == nil {
			err = s.piecesPresent(places)
		}
		if err != nil {
			if !errors.Is(err, errDamaged) {
				return err
			}
			s.logger.Warn("a blob lost pieces, as after a power loss", "digest", e.digest, "error", err)
			continue
		}
		r := e.record(pack)
		r.back = backOf(g.id, places)
		g.active.insert([]record{r}, nil, s.now())
		g.blobs.Add(1)
		g.logical.Add(e.digest.Size)
	}
	return nil
}

// piecesPresent returns errDamaged unless every piece can be read. Those that
// were spilled are durable and need no look.
func (s *Store) piecesPresent(places []place) error {
	byID := make(map[uint32]*generation, len(s.gens))
	for _, g := range s.gens {
		byID[g.id] = g
	}
	for _, p := range places {
		g := byID[p.generation]
		if g == nil {
			return fmt.Errorf("generation %d is gone: %w", p.generation, errDamaged)
		}
		if g.sealed.Load() || p.pack < g.spilled {
			continue
		}
		if err := g.readPack(p.pack, func(b packBody) error { _, err := b.only(); return err }); err != nil {
			return err
		}
	}
	return nil
}
