package cas

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync/atomic"
	"unsafe"
)

// run is an index file of one generation: records sorted by fingerprint, mapped,
// with a Bloom filter and a radix directory in front of them; and beside it a
// file of stamps, one for each record, which is the only part that changes.
//
//	header 64 | filter | directory | records
type run struct {
	path       string
	firstPack  uint32 // the packs that it covers
	lastPack   uint32
	n          int
	logical    int64  // bytes of the blobs
	foreign    bool   // some list refers to another generation
	oldest     uint32 // the oldest generation that a list refers to, when foreign
	data       []byte
	filter     []byte
	directory  []byte
	radixShift uint8
	records    []byte
	stamps     []byte
	refs       atomic.Int32
}

const (
	runMagic      = "bgidx002"
	runHeader     = 64
	filterBlock   = 32 // bytes; a split block Bloom filter
	recordsPerBin = 8  // of the directory, about
)

var errIndexDamaged = errors.New("the index file is damaged")

func runName(first, last uint32) string { return fmt.Sprintf("index-%08x-%08x", first, last) }

func parseRunName(name string) (first, last uint32, ok bool) {
	if len(name) != len("index-00000000-00000000") {
		return 0, 0, false
	}
	n, err := fmt.Sscanf(name, "index-%08x-%08x", &first, &last)
	return first, last, err == nil && n == 2 && name == runName(first, last)
}

func stampsPath(path string) string { return path + ".uses" }

// openRun maps the index file at path. Its header is verified at once, the rest
// by verify. When its stamps are gone, everything is taken as used at the given
// time.
func openRun(path string, at stamp) (*run, error) {
	data, err := openMapped(path, false)
	if err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	r := &run{path: path, data: data}
	r.refs.Store(1)
	if err := r.parseHeader(); err != nil {
		unmap(data)
		return nil, fmt.Errorf("open index %s: %w", path, err)
	}
	if r.stamps, err = openMapped(stampsPath(path), true); err != nil || len(r.stamps) != r.stampBytes() {
		unmap(r.stamps)
		if err := r.createStamps(at); err != nil {
			unmap(data)
			return nil, fmt.Errorf("open index %s: %w", path, err)
		}
	}
	return r, nil
}

// createStamps replaces lost stamps. Lists that refer to other generations may
// have been dead, so they are now.
func (r *run) createStamps(at stamp) error {
	var err error
	if r.stamps, err = createMapped(stampsPath(r.path), r.stampBytes()); err != nil {
		return err
	}
	for i := range r.n {
		st := at
		if r.record(i).back > 0 {
			st = dead
		}
		r.word(i).Store(st)
	}
	return nil
}

func (r *run) parseHeader() error {
	if len(r.data) < runHeader || string(r.data[:8]) != runMagic ||
		crc32.Checksum(r.data[:runHeader-4], castagnoli()) != binary.LittleEndian.Uint32(r.data[runHeader-4:]) {
		return errIndexDamaged
	}
	le := binary.LittleEndian
	r.n = int(le.Uint64(r.data[8:]))
	r.firstPack, r.lastPack = le.Uint32(r.data[16:]), le.Uint32(r.data[20:])
	r.oldest, r.foreign = le.Uint32(r.data[24:]), r.data[28] == 1
	r.logical = int64(le.Uint64(r.data[40:]))
	r.layOut()
	if r.n < 0 || r.n > 1<<32 || len(r.data) != r.size() {
		return errIndexDamaged
	}
	r.slice()
	return nil
}

// slice finds the parts of data.
func (r *run) slice() {
	end := runHeader
	next := func(n int) []byte { end += n; return r.data[end-n : end : end] }
	r.filter = next(filterBlocks(r.n) * filterBlock)
	r.directory = next(r.directoryBytes())
	r.records = next(r.n * recordBytes)
}

// layOut sets what follows from n.
func (r *run) layOut() {
	r.radixShift = 64
	for bins := r.n / recordsPerBin; bins > 1; bins >>= 1 {
		r.radixShift--
	}
}

// stampBytes is the size of the stamps: a mapping cannot be empty.
func (r *run) stampBytes() int { return 4 * max(r.n, 1) }

func (r *run) directoryBytes() int { return 4 * (1<<(64-r.radixShift) + 1) }
func (r *run) size() int {
	return runHeader + filterBlocks(r.n)*filterBlock + r.directoryBytes() + r.n*recordBytes
}

// verify reads the whole index file against its checksum.
func (r *run) verify() error {
	if crc32.Checksum(r.data[runHeader:], castagnoli()) != binary.LittleEndian.Uint32(r.data[32:]) {
		return fmt.Errorf("verify index %s: %w", r.path, errIndexDamaged)
	}
	return nil
}

// bin returns which entry of the directory begins the records of fp. Go shifts
// by 64 to 0.
func (r *run) bin(fp fingerprint) int { return int(fp.hi >> r.radixShift) }

// locate returns the number of the first record of a blob.
func (r *run) locate(fp fingerprint, size int64) (int, bool) {
	if !filterHas(r.filter, fp) {
		return 0, false
	}
	at := 4 * r.bin(fp)
	low := int(binary.LittleEndian.Uint32(r.directory[at:]))
	high := int(binary.LittleEndian.Uint32(r.directory[at+4:]))
	if high > r.n {
		return 0, false
	}
	for low < high {
		mid := (low + high) / 2
		f := decodeFingerprint(r.records[mid*recordBytes:])
		if c := f.compare(fp); c < 0 || c == 0 && r.record(mid).size < size {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, low < r.n && r.record(low).same(fp, size)
}

// find returns the record of a blob that is there, and notes its use when at is
// not 0.
func (r *run) find(fp fingerprint, size int64, at stamp, p *protection) (record, stamp, bool) {
	i, ok := r.locate(fp, size)
	if !ok {
		return record{}, 0, false
	}
	st, ok := touch(r.word(i), at, p)
	return r.record(i), st, ok
}

// wordOf returns the stamp of exactly this record.
func (r *run) wordOf(rec record) (*atomic.Uint32, bool) {
	i, ok := r.locate(rec.fp, rec.size)
	if !ok || !r.record(i).samePlace(rec) {
		return nil, false
	}
	return r.word(i), true
}

func (r *run) record(i int) record { return decodeRecord(r.records[i*recordBytes:]) }

// word is the stamp of record i, shared with the file.
func (r *run) word(i int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&r.stamps[4*i : 4*i+4][0]))
}

// retain keeps the mapping until release. The caller holds the ring's lock, or
// a reference already.
func (r *run) retain() { r.refs.Add(1) }

// release unmaps the run when nobody else uses it.
func (r *run) release() {
	if r.refs.Add(-1) == 0 {
		unmap(r.data)
		unmap(r.stamps)
	}
}

// syncStamps makes uses and deaths durable.
func (r *run) syncStamps() error { return syncFile(stampsPath(r.path)) }

// remove deletes the files; the mapping stays until release.
func (r *run) remove() error {
	return errors.Join(ignoreAbsent(os.Remove(r.path)), ignoreAbsent(os.Remove(stampsPath(r.path))))
}

func (r *run) name() string { return filepath.Base(r.path) }

func ignoreAbsent(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
