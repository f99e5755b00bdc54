package cas

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// drop takes an empty generation out of the ring and deletes it.
func (s *Store) drop(g *generation) error {
	s.ringMu.Lock()
	s.unpublishLocked(g)
	s.ringMu.Unlock()
	return s.deleteGeneration(g)
}

// unpublishLocked makes a generation invisible. The caller holds the ring's lock
// for itself.
func (s *Store) unpublishLocked(g *generation) {
	gens := make([]*generation, 0, len(s.gens))
	for _, other := range s.gens {
		if other != g {
			gens = append(gens, other)
		}
	}
	s.gens = gens
	g.leaving = g.use()
	s.space.outside.Add(g.leaving)
}

// deleteGeneration deletes one that nobody finds any more. The marker comes
// first: from then on a crash cannot bring half of it back. Whoever still reads
// it is waited for.
func (s *Store) deleteGeneration(g *generation) error {
	if err := writeMarker(g.dir, deadMarker); err != nil {
		return fmt.Errorf("drop generation %d: %w", g.id, err)
	}
	g.pins.Wait()
	err := g.closeFiles()
	for _, r := range g.runs {
		r.release()
	}
	if err := errors.Join(err, removeDead(g.dir)); err != nil {
		return fmt.Errorf("drop generation %d: %w", g.id, err)
	}
	s.space.outside.Add(-g.leaving)
	s.counters.dropped.Add(1)
	return nil
}

// removeDead deletes a generation that is marked dead and closed. It gets a name
// that says so first, since the marker may be deleted before the rest.
func removeDead(dir string) error {
	if !strings.HasSuffix(dir, deadSuffix) {
		if err := os.Rename(dir, dir+deadSuffix); err != nil {
			return err
		}
		dir += deadSuffix
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}
