package cas

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// mover carries what is protected out of a generation that is to be dropped. The
// generation serves meanwhile; uses that come late are found by looking again,
// the last time under the ring's lock.
type mover struct {
	store    *Store
	from     *generation
	index    *run    // of from; sealed generations have one
	have     []stamp // by record: the use that its copy elsewhere knows of; 0 while there is none
	pack     *packer // blobs to be written
	arena    *[]byte // their data
	carried  int64   // bytes
	evicted  int64   // blobs
	killedIn map[*generation]struct{}
}

// carryBytes is how much is gathered before it is written.
const carryBytes = 1 << 20

func newMover(s *Store, from *generation) *mover {
	v := s.view(from)
	index := v.runs[0] // the view's hold on it is now the mover's
	return &mover{
		store: s, from: from, index: index, have: make([]stamp, index.n),
		killedIn: make(map[*generation]struct{}),
	}
}

func (m *mover) close() {
	m.drop()
	m.index.release()
}

// drop forgets blobs that were not written.
func (m *mover) drop() {
	if m.pack != nil {
		m.pack.free()
		m.store.buffers.put(m.arena)
		m.pack, m.arena = nil, nil
	}
}

// carry moves all that is protected and takes the generation out of the ring.
// It ends: each round only carries what was used since the last one.
func (m *mover) carry(ctx context.Context) error {
	if err := m.uploads(ctx); err != nil {
		return err
	}
	for {
		if m.store.closing.Load() {
			return ErrClosed
		}
		if err := m.blobs(ctx); err != nil {
			return err
		}
		if err := m.lists(ctx); err != nil {
			return err
		}
		if m.unpublish() {
			return nil
		}
	}
}

// blobs carries what the generation's own index names.
func (m *mover) blobs(ctx context.Context) error {
	now := m.store.now()
	var todo []int
	for i := range m.index.n {
		st := m.index.stamp(i)
		switch {
		case st == dead || st == m.have[i] || m.have[i] == 0 && !m.store.holds(st, now):
		case m.store.touchElsewhere(m.from, m.index.record(i), st):
			m.have[i] = st
		default:
			todo = append(todo, i)
		}
	}
	slices.SortFunc(todo, func(a, b int) int { // as they lie
		ra, rb := m.index.record(a), m.index.record(b)
		return cmp.Or(cmp.Compare(ra.pack, rb.pack), cmp.Compare(ra.off, rb.off))
	})
	for _, i := range todo {
		if m.store.closing.Load() {
			return ErrClosed
		}
		var err error
		if m.index.record(i).kind == kindList {
			err = m.ownList(ctx, i)
		} else {
			err = m.blob(ctx, i)
		}
		if err != nil {
			return err
		}
	}
	return m.flush(ctx)
}

// blob carries one blob.
func (m *mover) blob(ctx context.Context, i int) error {
	rec, st := m.index.record(i), m.index.stamp(i)
	if st == dead {
		return nil
	}
	err := m.from.readBlob(rec, func(e entry) error {
		m.add(e.digest, e.data, st)
		m.have[i] = st
		return nil
	})
	if errors.Is(err, errDamaged) {
		m.store.condemn(m.from, rec, err)
		return nil
	}
	if err == nil && m.arena != nil && len(*m.arena) >= carryBytes {
		err = m.flush(ctx)
	}
	return err
}

func (m *mover) add(d digest.Digest, data []byte, st stamp) {
	if m.pack == nil {
		m.pack = m.store.newPacker(64)
		m.arena = m.store.buffers.get(carryBytes + maxWhole) // enough: it does not grow
	}
	from := len(*m.arena)
	*m.arena = append(*m.arena, data...)
	m.pack.addUsed(d, (*m.arena)[from:], st)
}

// flush writes the blobs that were gathered.
func (m *mover) flush(ctx context.Context) error {
	if m.pack == nil {
		return nil
	}
	defer m.drop()
	_, _, err := m.write(ctx, m.pack.finish(), 0)
	return err
}

// write commits packs to the generation for what is kept.
func (m *mover) write(ctx context.Context, packs []packed, at stamp) (generation, first uint32, err error) {
	cost, bytes := int64(0), int64(0)
	for _, p := range packs {
		bytes += p.size
		cost += packOverhead + int64(len(p.records))*recordOverhead
	}
	cost += bytes
	if !m.store.space.tryReserve(survivor, cost) {
		return 0, 0, errNoRoom
	}
	defer m.store.space.release(cost)
	l := m.store.lanes[laneKept]
	if err := l.ensure(); err != nil {
		return 0, 0, err
	}
	generation, first, err = l.commit(ctx, packs, at)
	if err != nil {
		return 0, 0, fmt.Errorf("carry blobs over: %w", err)
	}
	m.carried += bytes
	m.store.counters.carried.Add(bytes)
	return generation, first, nil
}

// unpublish takes the generation out of the ring, unless something in it was
// used that nobody else has. From here on what was not carried is gone.
func (m *mover) unpublish() bool {
	s := m.store
	s.ringMu.Lock()
	defer s.ringMu.Unlock()
	now, left := s.now(), int64(0)
	for i := range m.index.n {
		st := m.index.stamp(i)
		switch {
		case st == dead || st == m.have[i]:
		case m.have[i] == 0 && !s.holds(st, now):
			left++
		case !s.touchElsewhereLocked(m.from, m.index.record(i), st):
			m.have[i] = 0
			return false
		default:
			m.have[i] = st
		}
	}
	s.unpublishLocked(m.from)
	m.evicted += left
	s.counters.evicted.Add(m.evicted)
	return true
}

// touchElsewhere notes the use of a blob in another generation that has it too.
func (s *Store) touchElsewhere(not *generation, r record, at stamp) bool {
	s.ringMu.RLock()
	defer s.ringMu.RUnlock()
	return s.touchElsewhereLocked(not, r, at)
}

func (s *Store) touchElsewhereLocked(not *generation, r record, at stamp) bool {
	for _, g := range s.gens {
		if g != not {
			if _, _, ok := g.find(r.fp, r.size, at, &s.protection); ok {
				return true
			}
		}
	}
	return false
}
