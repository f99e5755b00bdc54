package cas

import (
	"errors"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// quarantine makes a damaged copy of a blob missing, durably, so that it is
// uploaded again instead of being served. The hit is pinned.
func (s *Store) quarantine(h hit, d digest.Digest, why error) {
	s.bury(h.generation, h.record)
	s.counters.damaged.Add(1)
	s.lossEpoch.Add(1)
	s.logger.Error("a damaged blob is taken out of the storage", "digest", d, "generation", h.generation.id, "error", why)
	if err := s.syncGeneration(h.generation); err != nil {
		s.logger.Warn("make the loss of a blob durable", "digest", d, "error", err)
	}
}

// bury marks every copy of a blob in one generation as dead.
func (s *Store) bury(g *generation, r record) {
	s.ringMu.Lock()
	defer s.ringMu.Unlock()
	g.set(r.fp, r.size, dead)
}

// syncGeneration makes the stamps in a generation's files durable.
func (s *Store) syncGeneration(g *generation) error {
	s.ringMu.RLock()
	runs := g.runs
	for _, r := range runs {
		r.retain()
	}
	s.ringMu.RUnlock()
	var errs []error
	for _, r := range runs {
		errs = append(errs, r.syncStamps())
		r.release()
	}
	return errors.Join(errs...)
}
