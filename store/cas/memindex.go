package cas

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// memIndex is the index of what an open generation got since its last spill: a
// flat table without pointers, so that the garbage collector has nothing to do
// in it.
type memIndex struct {
	mu      sync.RWMutex
	slots   []slot
	n       int
	shift   uint8
	factor  uint64 // random: nobody can choose blobs that collide
	foreign int    // lists that refer to other generations were put in so many times
}

type slot struct {
	rec   record
	stamp atomic.Uint32
}

const firstSlots = 512

func newMemIndex() *memIndex {
	m := &memIndex{factor: rand.Uint64() | 1}
	m.resize(firstSlots)
	return m
}

func (m *memIndex) resize(n int) {
	old := m.slots
	m.slots = make([]slot, n)
	m.shift = 64
	for ; n > 1; n >>= 1 {
		m.shift--
	}
	for i := range old {
		if old[i].rec.kind != kindNone {
			s := m.seek(old[i].rec.fp, old[i].rec.size)
			s.rec = old[i].rec
			s.stamp.Store(old[i].stamp.Load())
		}
	}
}

// seek returns the slot of a blob, or the free one where it belongs.
func (m *memIndex) seek(fp fingerprint, size int64) *slot {
	mask := uint64(len(m.slots) - 1)
	for i := (fp.hi ^ fp.lo) * m.factor >> m.shift; ; i = (i + 1) & mask {
		if s := &m.slots[i]; s.rec.kind == kindNone || s.rec.same(fp, size) {
			return s
		}
	}
}

// insert adds or replaces records with their times of use, which are all the
// same when stamps is nil.
func (m *memIndex) insert(recs []record, stamps []stamp, at stamp) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, r := range recs {
		if stamps != nil {
			at = stamps[i]
		}
		m.put(r, at)
	}
}

// put is insert for one record, by whom holds mu.
func (m *memIndex) put(r record, at stamp) {
	if m.n*4 >= len(m.slots)*3 {
		m.resize(len(m.slots) * 2)
	}
	s := m.seek(r.fp, r.size)
	if s.rec.kind == kindNone {
		m.n++
	}
	s.rec = r
	s.stamp.Store(at)
	if r.back > 0 {
		m.foreign++
	}
}

// find returns the record of a blob that is there, and notes its use when at is
// not 0.
func (m *memIndex) find(fp fingerprint, size int64, at stamp, p *protection) (record, stamp, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := m.seek(fp, size)
	if s.rec.kind == kindNone {
		return record{}, 0, false
	}
	st, ok := touch(&s.stamp, at, p)
	return s.rec, st, ok
}

// kill marks exactly this record as dead and tells whether it lived.
func (m *memIndex) kill(r record) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := m.seek(r.fp, r.size)
	return s.rec.samePlace(r) && s.stamp.Swap(dead) != dead
}

// stampOf returns when exactly this record was used last.
func (m *memIndex) stampOf(r record) (stamp, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := m.seek(r.fp, r.size)
	return s.stamp.Load(), s.rec.samePlace(r)
}

// foreignLists hands the lists that refer to other generations to visit.
func (m *memIndex) foreignLists(visit func(record, stamp)) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.foreign == 0 {
		return
	}
	for i := range m.slots {
		if s := &m.slots[i]; s.rec.back > 0 {
			visit(s.rec, s.stamp.Load())
		}
	}
}

// count returns how many records there are.
func (m *memIndex) count() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.n
}

// touch notes a use at the given time, unless at is 0, in a way that never
// revives the dead. It reports the stamp found and whether the record lives.
func touch(word *atomic.Uint32, at stamp, p *protection) (stamp, bool) {
	for {
		st := word.Load()
		if st == dead {
			return st, false
		}
		if at == 0 || !p.worthWriting(st, at) || word.CompareAndSwap(st, at) {
			return st, true
		}
	}
}
