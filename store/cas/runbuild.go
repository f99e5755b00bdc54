package cas

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
)

// source is something sorted that an index file is built from.
type source interface {
	len() int
	record(i int) record
	stamp(i int) stamp
}

// memSource is a memIndex that gets no more records, in order.
type memSource []*slot

func sortedSlots(m *memIndex) memSource {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make(memSource, 0, m.n)
	for i := range m.slots {
		if m.slots[i].rec.kind != kindNone {
			out = append(out, &m.slots[i])
		}
	}
	slices.SortFunc(out, func(a, b *slot) int { return a.rec.compare(b.rec) })
	return out
}

func (s memSource) len() int            { return len(s) }
func (s memSource) record(i int) record { return s[i].rec }
func (s memSource) stamp(i int) stamp   { return s[i].stamp.Load() }

func (r *run) len() int          { return r.n }
func (r *run) stamp(i int) stamp { return r.word(i).Load() }

// build merges sources into one index file. Uses that are noted meanwhile are
// brought over by reconcile.
type build struct {
	sources []source
	stamps  [][]stamp // as they were when the build began
	run     *run
}

// buildRun writes the index file of a generation's packs first to last, durably.
func buildRun(dir string, id, first, last uint32, sources []source) (*build, error) {
	b := &build{sources: sources}
	for _, s := range sources {
		stamps := make([]stamp, s.len())
		for i := range stamps {
			stamps[i] = s.stamp(i)
		}
		b.stamps = append(b.stamps, stamps)
	}
	n := 0
	for range b.merged {
		n++
	}
	r := &run{path: filepath.Join(dir, runName(first, last)), firstPack: first, lastPack: last, n: n}
	r.refs.Store(1)
	if err := b.write(r, id); err != nil {
		r.release()
		_ = os.Remove(r.path + ".new")
		_ = r.remove()
		return nil, fmt.Errorf("write index: %w", err)
	}
	b.run = r
	return b, nil
}

// merged yields the living records in order, each blob once: its newest.
func (b *build) merged(yield func(record, stamp) bool) {
	next := make([]int, len(b.sources))
	var previous record
	for {
		best := -1
		var r record
		for s, i := range next {
			for i < len(b.stamps[s]) && b.stamps[s][i] == dead {
				i++
			}
			if next[s] = i; i == len(b.stamps[s]) {
				continue
			}
			if c := b.sources[s].record(i); best < 0 || c.compare(r) < 0 {
				best, r = s, c
			}
		}
		if best < 0 {
			return
		}
		st := b.stamps[best][next[best]]
		next[best]++
		if previous.kind != kindNone && previous.same(r.fp, r.size) {
			continue
		}
		previous = r
		if !yield(r, st) {
			return
		}
	}
}

// write lays the file out in a mapping and makes it and its stamps durable
// before the name is there.
func (b *build) write(r *run, id uint32) error {
	r.layOut()
	var err error
	if r.data, err = createMapped(r.path+".new", r.size()); err != nil {
		return err
	}
	if err := ignoreAbsent(os.Remove(stampsPath(r.path))); err != nil { // it may be mapped
		return err
	}
	if r.stamps, err = createMapped(stampsPath(r.path), r.stampBytes()); err != nil {
		return err
	}
	r.slice()
	b.fill(r, id)
	le := binary.LittleEndian
	copy(r.data, runMagic)
	le.PutUint64(r.data[8:], uint64(r.n))
	le.PutUint32(r.data[16:], r.firstPack)
	le.PutUint32(r.data[20:], r.lastPack)
	le.PutUint32(r.data[24:], r.oldest)
	if r.foreign {
		r.data[28] = 1
	}
	le.PutUint64(r.data[40:], uint64(r.logical))
	le.PutUint32(r.data[32:], crc32.Checksum(r.data[runHeader:], castagnoli()))
	le.PutUint32(r.data[runHeader-4:], crc32.Checksum(r.data[:runHeader-4], castagnoli()))
	if err := syncFile(r.path + ".new"); err != nil {
		return err
	}
	if err := syncFile(stampsPath(r.path)); err != nil {
		return err
	}
	if err := os.Rename(r.path+".new", r.path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(r.path))
}

// fill writes filter, directory, records and stamps.
func (b *build) fill(r *run, id uint32) {
	i, bin := 0, 0
	putBin := func(upTo int) {
		for ; bin <= upTo; bin++ {
			binary.LittleEndian.PutUint32(r.directory[4*bin:], uint32(i))
		}
	}
	for rec, st := range b.merged {
		putBin(r.bin(rec.fp))
		filterAdd(r.filter, rec.fp)
		rec.encode(r.records[i*recordBytes:])
		r.word(i).Store(st)
		r.logical += rec.size
		if rec.back > 0 {
			r.noteForeign(id, rec.back)
		}
		i++
	}
	putBin(r.directoryBytes()/4 - 1)
}

// noteForeign remembers that a list refers to an earlier generation.
func (r *run) noteForeign(id uint32, back uint8) {
	oldest := uint32(0)
	if back < 255 {
		oldest = id - min(id, uint32(back))
	}
	if !r.foreign || oldest < r.oldest {
		r.oldest = oldest
	}
	r.foreign = true
}

// reconcile brings over what was noted in the sources since the build began.
// The caller holds the ring's lock, so that nothing more is noted in them.
func (b *build) reconcile() {
	for s, src := range b.sources {
		for i, before := range b.stamps[s] {
			if st := src.stamp(i); st != before {
				if word, ok := b.run.wordOf(src.record(i)); ok {
					word.Store(st)
				}
			}
		}
	}
}
