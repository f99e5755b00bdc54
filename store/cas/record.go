package cas

import (
	"cmp"
	"encoding/binary"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// fingerprint stands for hash and digest function in the indexes: the first 128
// bits of the hash. It decides presence; content is checked against the whole
// hash, which lies beside it.
type fingerprint struct{ hi, lo uint64 }

func fingerprintOf(d digest.Digest) fingerprint {
	return fingerprint{
		hi: binary.BigEndian.Uint64(d.Hash[0:8]),
		lo: binary.BigEndian.Uint64(d.Hash[8:16]) ^ uint64(d.Function)*0x9e3779b97f4a7c15,
	}
}

func (f fingerprint) compare(g fingerprint) int {
	if c := cmp.Compare(f.hi, g.hi); c != 0 {
		return c
	}
	return cmp.Compare(f.lo, g.lo)
}

// kind says what an entry of a pack is.
type kind uint8

const (
	kindNone  kind = iota
	kindBlob       // a whole blob
	kindList       // the pieces of a larger blob
	kindPiece      // of a larger blob; never in an index
)

// record says where in its generation a blob lies.
type record struct {
	fp   fingerprint
	size int64  // of the blob, below 1<<40
	pack uint32 // number of the pack
	off  int64  // of the entry's header: in the data file, or in the pack; below 1<<40
	kind kind
	file bool // the pack lies in the data file
	// back is for lists: how many generations before the list's own the oldest
	// one that holds a piece is; 255 means 255 or more.
	back uint8
}

// recordBytes is the size of a record in an index file. Two share a cache line.
const recordBytes = 32

// inFile is set in the byte of the kind when the pack lies in the data file.
const inFile = 0x80

func (r record) encode(b []byte) {
	_ = b[recordBytes-1]
	binary.LittleEndian.PutUint64(b[0:], r.fp.hi)
	binary.LittleEndian.PutUint64(b[8:], r.fp.lo)
	binary.LittleEndian.PutUint32(b[16:], uint32(r.size))
	binary.LittleEndian.PutUint32(b[20:], r.pack)
	binary.LittleEndian.PutUint32(b[24:], uint32(r.off))
	b[28] = uint8(r.size >> 32)
	b[29] = uint8(r.kind)
	if r.file {
		b[29] |= inFile
	}
	b[30] = r.back
	b[31] = uint8(r.off >> 32)
}

func decodeRecord(b []byte) record {
	_ = b[recordBytes-1]
	return record{
		fp:   decodeFingerprint(b),
		size: int64(binary.LittleEndian.Uint32(b[16:])) | int64(b[28])<<32,
		pack: binary.LittleEndian.Uint32(b[20:]),
		off:  int64(binary.LittleEndian.Uint32(b[24:])) | int64(b[31])<<32,
		kind: kind(b[29] &^ inFile),
		file: b[29]&inFile != 0,
		back: b[30],
	}
}

func decodeFingerprint(b []byte) fingerprint {
	return fingerprint{hi: binary.LittleEndian.Uint64(b[0:]), lo: binary.LittleEndian.Uint64(b[8:])}
}

// compare orders records for an index: by fingerprint, then size, the newest
// first.
func (r record) compare(o record) int {
	if c := r.fp.compare(o.fp); c != 0 {
		return c
	}
	if c := cmp.Compare(r.size, o.size); c != 0 {
		return c
	}
	if c := cmp.Compare(o.pack, r.pack); c != 0 {
		return c
	}
	return cmp.Compare(o.off, r.off)
}

// samePlace tells whether r and o are the same record of the same generation.
func (r record) samePlace(o record) bool {
	return r.kind != kindNone && r.same(o.fp, o.size) && r.pack == o.pack && r.off == o.off
}

func (r record) same(fp fingerprint, size int64) bool { return r.fp == fp && r.size == size }
