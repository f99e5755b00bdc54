package cas

import (
	"errors"
	"slices"
	"strings"
	"syscall"
)

// beyondUs tells whether Badger could not be opened for a reason that lies in the
// machine rather than in its files. Badger hands such errors on as text only.
func beyondUs(err error) bool {
	return slices.ContainsFunc([]syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOSPC, syscall.EDQUOT, syscall.ENOMEM, syscall.EACCES,
		syscall.EPERM, syscall.EROFS, syscall.EAGAIN, syscall.EIO,
	}, func(e syscall.Errno) bool { return errors.Is(err, e) || strings.Contains(err.Error(), e.Error()) })
}

// giveUp deletes an open generation whose Badger cannot be opened, as may be
// after a power loss on a file system that reorders writes: what was in it is
// missing, the rest of the store is served. Only load calls it.
func (s *Store) giveUp(g *generation, why error) error {
	s.logger.Error("a generation cannot be opened, its blobs are lost", "generation", g.id, "blobs", g.blobs.Load(), "error", why)
	s.lossEpoch.Add(1)
	s.counters.damaged.Add(g.blobs.Load())
	s.gens = slices.DeleteFunc(s.gens, func(other *generation) bool { return other == g })
	for _, r := range g.runs {
		r.release()
	}
	_ = g.closeFiles()
	m := &mover{store: s, from: g, killedIn: make(map[*generation]struct{})}
	for _, other := range s.gens {
		for _, l := range s.foreignLists(other, g.id) {
			_, places, err := s.readListAt(l.generation, l.record)
			if err != nil || slices.ContainsFunc(places, func(p place) bool { return p.generation == g.id }) {
				m.kill(l, true)
			}
		}
	}
	for other := range m.killedIn {
		if err := s.syncGeneration(other); err != nil {
			return err
		}
	}
	if err := writeMarker(g.dir, deadMarker); err != nil {
		return err
	}
	s.finishDrop(g.dir)
	return nil
}
