package actioncache

import (
	"hash/maphash"
	"sync"
)

// sized is what a memo holds.
type sized interface{ bytes() int }

// memo remembers values, bounded in bytes. Each stripe keeps two generations:
// what is used moves to the young one, and when that is half of the bound the
// old one is forgotten. That is nearly as good as least recently used, and a
// lookup is one map access.
type memo[K comparable, V sized] struct {
	seed    maphash.Seed
	stripes [8]stripe[K, V]
}

type stripe[K comparable, V sized] struct {
	mu         sync.Mutex
	young, old map[K]V
	used       int // bytes of young
	usedOld    int
	half       int
	version    uint64 // grows when a key of the stripe is dropped
}

func newMemo[K comparable, V sized](bytes int) *memo[K, V] {
	m := &memo[K, V]{seed: maphash.MakeSeed()}
	for i := range m.stripes {
		m.stripes[i].young = make(map[K]V)
		m.stripes[i].half = bytes / 2 / len(m.stripes)
	}
	return m
}

func (m *memo[K, V]) stripe(k K) *stripe[K, V] {
	return &m.stripes[maphash.Comparable(m.seed, k)%uint64(len(m.stripes))]
}

// get returns what is remembered of k, and the version to hand to put.
func (m *memo[K, V]) get(k K) (v V, version uint64, ok bool) {
	s := m.stripe(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok = s.young[k]; ok {
		return v, s.version, true
	}
	if v, ok = s.old[k]; ok {
		s.add(k, v)
	}
	return v, s.version, ok
}

// put remembers v unless a key of its stripe was dropped since version. It
// returns what is remembered: an earlier put wins.
func (m *memo[K, V]) put(k K, v V, version uint64) (V, bool) {
	s := m.stripe(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version != version {
		return v, false
	}
	if have, ok := s.young[k]; ok {
		return have, true
	}
	if have, ok := s.old[k]; ok {
		v = have
	}
	if v.bytes() <= s.half {
		s.add(k, v)
	}
	return v, true
}

// drop forgets k.
func (m *memo[K, V]) drop(k K) {
	s := m.stripe(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	if v, ok := s.young[k]; ok {
		s.used -= v.bytes()
		delete(s.young, k)
	}
	if v, ok := s.old[k]; ok {
		s.usedOld -= v.bytes()
		delete(s.old, k)
	}
}

// clear forgets everything.
func (m *memo[K, V]) clear() {
	for i := range m.stripes {
		s := &m.stripes[i]
		s.mu.Lock()
		s.version++
		s.young, s.old, s.used, s.usedOld = make(map[K]V), nil, 0, 0
		s.mu.Unlock()
	}
}

func (s *stripe[K, V]) add(k K, v V) {
	if _, ok := s.old[k]; ok {
		s.usedOld -= v.bytes()
		delete(s.old, k)
	}
	s.young[k] = v
	s.used += v.bytes()
	if s.used > s.half {
		s.old, s.usedOld = s.young, s.used
		s.young, s.used = make(map[K]V), 0
	}
}

// size returns the bytes remembered.
func (m *memo[K, V]) size() int {
	total := 0
	for i := range m.stripes {
		s := &m.stripes[i]
		s.mu.Lock()
		total += s.used + s.usedOld
		s.mu.Unlock()
	}
	return total
}
