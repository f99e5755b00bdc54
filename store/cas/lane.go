package cas

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// lane is where writes of one kind go: an open generation, and the next one,
// opened ahead so that nobody waits for it.
type lane struct {
	store *Store
	kind  laneKind

	ready   atomic.Bool   // next is there
	mu      sync.RWMutex  // shared by commits; exclusive to freeze and to rotate
	current *generation   // nil until ensure
	next    *generation   // maintenance alone uses it
	eased   chan struct{} // closed when the open generation was rotated or spilled
}

// packed is a pack to be written and where its blobs lie in it. What the records
// say of their generation is filled in by commit.
type packed struct {
	parts   [][]byte // its bytes, which are borrowed until it is written
	size    int64    // of them together
	records []record // with offsets in the pack
	stamps  []stamp  // of the records; nil: all used now
	places  []place  // of the list, when that is the only record
	at      int64    // where write has put it in the data file
}

// commit writes packs in one transaction and makes their blobs present. They
// survive the death of the process when it returns. It returns the generation
// and the number of the first pack.
func (l *lane) commit(ctx context.Context, packs []packed, at stamp) (uint32, uint32, error) {
	if err := l.roomy(ctx); err != nil {
		return 0, 0, err
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	g := l.current
	if g == nil || l.store.closing.Load() {
		return 0, 0, ErrClosed
	}
	n := uint32(len(packs))
	first := g.nextPack.Add(n) - n
	bytes, blobs, err := g.write(first, packs)
	if err != nil {
		return 0, 0, l.store.space.notice(err)
	}
	logical := int64(0)
	for i := range packs {
		for j := range packs[i].records {
			r := &packs[i].records[j]
			r.pack, r.back = first+uint32(i), backOf(g.id, packs[i].places)
			if packs[i].inFile() {
				r.off, r.file = packs[i].at+r.off, true
			}
			logical += r.size
		}
		g.active.insert(packs[i].records, packs[i].stamps, at)
	}
	g.appended.Add(bytes)
	g.blobs.Add(blobs)
	g.logical.Add(logical)
	g.unmeasured.Add(bytes + int64(n)*packOverhead + blobs*recordOverhead)
	if g.sinceSpill.Add(bytes) >= g.geo.spillBytes || g.active.count() >= g.geo.spillRecords ||
		g.full() || g.almostFull() && !l.ready.Load() {
		l.store.wake(l.store.maintenance)
	}
	return g.id, first, nil
}

// What a pack and a record take on the disk beyond their data, about.
const (
	packOverhead   = 128
	recordOverhead = 80
)

// inFile tells whether a pack is for the data file rather than for Badger.
func (p *packed) inFile() bool { return p.size >= inlineBytes }

// write puts the larger packs into the data file, and what Badger knows of all of
// them into Badger in one transaction: pointers come after what they point to.
func (g *generation) write(first uint32, packs []packed) (bytes, blobs int64, err error) {
	if err := g.writeData(packs); err != nil {
		return 0, 0, err
	}
	txn := g.db.NewTransactionAt(math.MaxUint64, true)
	defer txn.Discard()
	values := uint64(0)
	for i := range packs {
		p := &packs[i]
		var value []byte
		if p.inFile() {
			value, values = pointer{p.at, uint32(p.size)}.encode(), 1
		} else {
			value = slices.Concat(p.parts...)
		}
		if err := txn.Set(packKey(first+uint32(i)), value); err != nil {
			return 0, 0, fmt.Errorf("write pack: %w", err)
		}
		bytes += p.size
		blobs += int64(len(p.records))
	}
	// Versions mean nothing here, but must not be 0.
	if err := txn.CommitAt(uint64(first)+1, nil); err != nil {
		return 0, 0, fmt.Errorf("write packs: %w", err)
	}
	g.logs.values.Add(values)
	g.logs.commits.Add(1)
	return bytes, blobs, nil
}

// writeData appends the larger packs to the data file in one go.
func (g *generation) writeData(packs []packed) error {
	var parts [][]byte
	total := int64(0)
	for i := range packs {
		if p := &packs[i]; p.inFile() {
			p.at = total
			total += p.size
			parts = append(parts, p.parts...)
		}
	}
	if total == 0 {
		return nil
	}
	at, err := g.data.write(parts, total)
	if err != nil {
		return err
	}
	for i := range packs {
		packs[i].at += at
	}
	return nil
}

// roomy waits while the open generation is far beyond its size, which happens
// when maintenance cannot keep up.
func (l *lane) roomy(ctx context.Context) error {
	for {
		l.mu.RLock()
		g, eased := l.current, l.eased
		enough := g == nil || g.appended.Load() < g.geo.generation*3/2 && g.active.count() < 8*g.geo.spillRecords
		l.mu.RUnlock()
		if enough {
			return nil
		}
		l.store.wake(l.store.maintenance)
		select {
		case <-eased:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-l.store.done:
			return ErrClosed
		}
	}
}

func (g *generation) full() bool {
	return g.appended.Load() >= g.geo.generation || g.blobs.Load() >= g.geo.records
}

// almostFull tells whether the next generation should be opened.
func (g *generation) almostFull() bool {
	return g.appended.Load() >= g.geo.generation/5*4 || g.blobs.Load() >= g.geo.records/5*4
}

// ensure opens a generation when there is none yet.
func (l *lane) ensure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current != nil {
		return nil
	}
	g, err := l.store.createGeneration(l.kind)
	if err != nil {
		return err
	}
	l.current = g
	l.store.publish(g)
	return nil
}

// rotate makes the next generation the current one and returns the old one, to
// be sealed. Only maintenance calls it.
func (l *lane) rotate() (*generation, error) {
	if err := l.prepare(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.current
	l.current, l.next = l.next, nil
	l.ready.Store(false)
	l.store.space.outside.Add(-l.current.use())
	l.store.publish(l.current)
	l.easeLocked()
	return old, nil
}

// easeLocked lets waiting writers look again.
func (l *lane) easeLocked() {
	close(l.eased)
	l.eased = make(chan struct{})
}

// freeze sets aside the index of what came since the last spill. Only
// maintenance and the sealer call it.
func (l *lane) freeze(g *generation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.store.ringMu.Lock()
	defer l.store.ringMu.Unlock()
	g.frozen, g.active = g.active, newMemIndex()
	g.sinceSpill.Store(0)
	g.frozenLast = g.nextPack.Load() - 1
	l.easeLocked()
}

// prepare opens the next generation. Only maintenance calls it.
func (l *lane) prepare() (err error) {
	if l.next == nil {
		if l.next, err = l.store.createGeneration(l.kind); err != nil {
			return err
		}
		l.store.space.outside.Add(l.next.use())
		l.ready.Store(true)
	}
	return nil
}
