package cas

import (
	"errors"
	"fmt"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// quarantine makes a damaged copy of a blob missing, durably, so that it is
// uploaded again instead of being served. The hit is pinned.
func (s *Store) quarantine(h hit, d digest.Digest, why error) {
	s.takeOut(h.generation, h.record, d.String(), why)
}

// condemn is quarantine for a blob of which no more is known than its record.
func (s *Store) condemn(g *generation, r record, why error) {
	s.takeOut(g, r, fmt.Sprintf("%016x%016x.../%d", r.fp.hi, r.fp.lo, r.size), why)
}

func (s *Store) takeOut(g *generation, r record, name string, why error) {
	s.ringMu.Lock()
	killed := g.kill(r)
	s.ringMu.Unlock()
	if !killed { // somebody else was first
		return
	}
	s.counters.damaged.Add(1)
	s.lossEpoch.Add(1)
	s.logger.Error("a damaged blob is taken out of the storage", "digest", name, "generation", g.id, "error", why)
	if err := s.syncGeneration(g); err != nil {
		s.logger.Warn("make the loss of a blob durable", "digest", name, "error", err)
	}
}

// kill marks one record as dead, in whichever index has it, and tells whether it
// lived. Other records of the same blob live on. The caller holds the ring's lock
// for itself.
func (g *generation) kill(r record) bool {
	killed := false
	for _, m := range []*memIndex{g.active, g.frozen} {
		if m != nil && m.kill(r) {
			killed = true
		}
	}
	for _, run := range g.runs {
		if word, ok := run.wordOf(r); ok && word.Swap(dead) != dead {
			killed = true
		}
	}
	return killed
}

// stampOf returns when a record was last used; dead when it is not there. The
// caller holds the ring's lock.
func (g *generation) stampOf(r record) stamp {
	for _, m := range []*memIndex{g.active, g.frozen} {
		if m != nil {
			if st, ok := m.stampOf(r); ok {
				return st
			}
		}
	}
	for _, run := range g.runs {
		if word, ok := run.wordOf(r); ok {
			return word.Load()
		}
	}
	return dead
}

// syncGeneration makes the stamps in a generation's files durable.
func (s *Store) syncGeneration(g *generation) error {
	v := s.view(g)
	defer v.release()
	var errs []error
	for _, r := range v.runs {
		errs = append(errs, r.syncStamps())
	}
	return errors.Join(errs...)
}
