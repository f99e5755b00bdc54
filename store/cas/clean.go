package cas

import (
	"context"
	"errors"
	"time"
)

// recheck is how long the cleaner rests at most when it can do nothing: new
// generations may have been sealed meanwhile.
const recheck = 5 * time.Second

// errNoRoom says that the survivors of a generation find no place.
var errNoRoom = errors.New("there is no room for what is protected")

// rest is how long the cleaner has nothing to do.
type rest struct {
	until   time.Time
	pressed bool // even when writers wait
	over    <-chan time.Time
}

// clean drops generations while the store takes too much of the disk.
func (s *Store) clean() {
	var r rest
	for {
		select {
		case <-s.done:
			return
		case <-s.cleaning:
		case <-r.over:
		}
		for !s.closing.Load() && s.cleanMore(&r) {
		}
	}
}

// cleanMore drops one generation when that is needed and possible.
func (s *Store) cleanMore(r *rest) bool {
	r.over = nil
	short, pressed := s.space.short()
	if !short {
		return false
	}
	if left := time.Until(r.until); left > 0 && (r.pressed || !pressed) {
		r.over = time.After(left)
		return false
	}
	wait, err := s.cleanOnce(pressed)
	switch {
	case errors.Is(err, errNoRoom):
		wait = retryPause
	case err != nil:
		if s.closing.Load() {
			return false
		}
		s.logger.Error("make room in the storage", "error", err)
		*r = rest{until: time.Now().Add(retryPause), pressed: true}
		return true
	}
	if wait == 0 {
		*r = rest{}
		s.space.made()
		return true
	}
	if pressed {
		s.space.cannot(time.Now().Add(wait))
	}
	*r = rest{until: time.Now().Add(min(wait, recheck)), pressed: pressed}
	return true
}

// cleanOnce drops the generation that is the cheapest to drop, or tells after
// which time one may be.
func (s *Store) cleanOnce(pressed bool) (wait time.Duration, err error) {
	s.reshape.Lock()
	defer s.reshape.Unlock()
	started := time.Now()
	victim, wait := s.choose(s.survey(), pressed)
	if victim == nil {
		return wait, nil
	}
	g, size := victim.generation, victim.generation.use()
	m := newMover(s, g)
	defer m.close()
	if err := m.carry(context.Background()); err != nil {
		return 0, err
	}
	if err := s.settle(m); err != nil {
		return 0, err
	}
	if err := s.deleteGeneration(g); err != nil {
		return 0, err
	}
	s.logger.Debug("a generation was dropped", "generation", g.id, "bytes", size, "carried_bytes", m.carried,
		"evicted", m.evicted, "duration", time.Since(started))
	return 0, nil
}

// settle makes durable, before a generation is deleted, what was carried out of
// it and that lists which referred to it are dead. An index that is just being
// written gets their deaths late, so it is waited for.
func (s *Store) settle(m *mover) error {
	if err := s.Sync(context.Background()); err != nil {
		return err
	}
	s.spilling.Lock()
	s.spilling.Unlock() //nolint:staticcheck // a barrier, nothing is guarded
	for g := range m.killedIn {
		if err := s.syncGeneration(g); err != nil {
			return err
		}
	}
	return nil
}
