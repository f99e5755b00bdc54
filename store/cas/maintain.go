package cas

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// retryPause is how long background work rests after an error.
const retryPause = time.Second

// maintain spills and rotates the open generations, and makes uses durable.
func (s *Store) maintain() {
	tick := time.NewTicker(clampDuration(s.bucket, time.Second, time.Minute))
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-tick.C:
			s.keepUses()
			s.writers.expire(s)
		case <-s.maintenance:
			for _, l := range s.lanes {
				if err := s.tend(l); err != nil {
					s.logger.Error("maintain the open generation", "lane", l.kind, "error", err)
					s.pause()
					s.wake(s.maintenance)
				}
			}
		}
		s.space.look()
	}
}

func clampDuration(d, low, high time.Duration) time.Duration { return min(max(d, low), high) }

// pause rests after an error, unless the store is closing.
func (s *Store) pause() {
	select {
	case <-s.done:
	case <-time.After(retryPause):
	}
}

// tend does what one lane needs.
func (s *Store) tend(l *lane) error {
	l.mu.RLock()
	g := l.current
	l.mu.RUnlock()
	if g == nil {
		return nil
	}
	if g.full() {
		old, err := l.rotate()
		if err != nil {
			return err
		}
		select {
		case s.toSeal <- old:
		case <-s.done:
		}
		return nil
	}
	if g.almostFull() {
		if err := l.prepare(); err != nil {
			return err
		}
	}
	if g.sinceSpill.Load() >= g.geo.spillBytes || g.active.count() >= g.geo.spillRecords {
		return s.spill(l, g, false)
	}
	return nil
}

// spill writes the index of what came since the last one into a file, when the
// packs are durable. Small index files are merged with it, or all of them.
func (s *Store) spill(l *lane, g *generation, all bool) error {
	s.spilling.RLock()
	defer s.spilling.RUnlock()
	if g.frozen == nil {
		if g.nextPack.Load() == 0 || g.sinceSpill.Load() == 0 && (!all || len(g.runs) == 1) {
			return nil
		}
		l.freeze(g)
	}
	// Lists may refer to pieces in any open generation.
	if err := s.Sync(context.Background()); err != nil {
		return err
	}
	frozen := sortedSlots(g.frozen)
	sources, n, keep := []source{frozen}, frozen.len(), len(g.runs)
	for ; keep > 0 && (all || g.runs[keep-1].n <= 2*n); keep-- {
		n += g.runs[keep-1].n
		sources = append(sources, g.runs[keep-1])
	}
	first := uint32(0)
	if keep > 0 {
		first = g.runs[keep-1].lastPack + 1
	}
	b, err := buildRun(g.dir, g.id, first, g.frozenLast, sources)
	if err != nil {
		return err
	}
	merged := g.runs[keep:]
	s.ringMu.Lock()
	b.reconcile()
	g.runs = append(g.runs[:keep:keep], b.run)
	g.frozen = nil
	s.ringMu.Unlock()
	g.measure()
	return removeRuns(merged)
}

func removeRuns(runs []*run) error {
	var errs []error
	for _, r := range runs {
		errs = append(errs, r.remove())
		r.release()
	}
	return errors.Join(errs...)
}

// seal closes generations that are full and opens them again read-only.
func (s *Store) seal() {
	for {
		select {
		case <-s.done:
			return
		case g := <-s.toSeal:
			for {
				err := s.sealOne(g)
				if err == nil || s.closing.Load() {
					break
				}
				s.logger.Error("seal a generation", "generation", g.id, "error", err)
				s.pause()
			}
			s.space.look()
		}
	}
}

func (s *Store) sealOne(g *generation) error {
	if g.nextPack.Load() == 0 {
		return s.drop(g)
	}
	if err := s.spill(s.lanes[g.lane], g, true); err != nil {
		return err
	}
	if err := g.data.trim(); err != nil {
		return err
	}
	if err := g.reopenSealed(); err != nil {
		return err
	}
	s.ringMu.Lock()
	g.active = nil
	s.ringMu.Unlock()
	if err := ignoreAbsent(os.Remove(filepath.Join(g.dir, "DISCARD"))); err != nil {
		return err
	}
	if err := writeMarker(g.dir, sealedMarker); err != nil {
		return err
	}
	g.measure()
	g.droppable.Store(true)
	return nil
}

// reopenSealed exchanges Badger opened for writing for Badger opened for
// reading, which has no memtable. Reads wait meanwhile; there is little to do,
// since all is durable already.
func (g *generation) reopenSealed() error {
	g.dbMu.Lock()
	defer g.dbMu.Unlock()
	if g.sealed.Load() {
		return nil
	}
	if err := g.closeLocked(); err != nil {
		return err
	}
	g.sealed.Store(true)
	return g.openReadOnlyLocked()
}

// keepUses makes uses durable and measures the open generations.
func (s *Store) keepUses() {
	for _, r := range s.retainRuns() {
		if err := r.syncStamps(); err != nil {
			s.logger.Warn("make uses of blobs durable", "error", err)
		}
		r.release()
	}
	for _, g := range s.ring() {
		if !g.sealed.Load() {
			g.measure()
		}
	}
}

// retainRuns returns the index files in use; the caller releases each.
func (s *Store) retainRuns() []*run {
	s.ringMu.RLock()
	defer s.ringMu.RUnlock()
	var runs []*run
	for _, g := range s.gens {
		for _, r := range g.runs {
			r.retain()
			runs = append(runs, r)
		}
	}
	return runs
}
