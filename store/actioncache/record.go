package actioncache

import (
	"encoding/binary"
	"fmt"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Keys in Badger. An entry lies under its action; an order key, which counts
// the puts, names the entry that was written then, so that the oldest is found
// without looking at the others.
//
//	m                                         meta
//	e function hash[32] size[8] instance...   record
//	o sequence[8]                             the entry's key
//
// All of them lie on one side of the store: see side.
const (
	entryPrefix = 'e'
	orderPrefix = 'o'
)

var metaKey = []byte("m")

const (
	digestLen     = 1 + 32 + 8
	formatVersion = 1
)

// key is the entry's place in memory and, by bytes, in Badger.
type key struct {
	instance string
	action   digest.Digest
}

func appendDigest(b []byte, d digest.Digest) []byte {
	b = append(b, byte(d.Function))
	b = append(b, d.Hash[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(d.Size))
}

func decodeDigest(b []byte) (digest.Digest, error) {
	if len(b) != digestLen {
		return digest.Digest{}, fmt.Errorf("%w: a digest of %d bytes", ErrInconsistent, len(b))
	}
	d := digest.Digest{Function: digest.Function(b[0]), Size: int64(binary.BigEndian.Uint64(b[33:]))}
	copy(d.Hash[:], b[1:33])
	return d, nil
}

func (k key) bytes() []byte {
	b := make([]byte, 0, 1+digestLen+len(k.instance))
	b = appendDigest(append(b, entryPrefix), k.action)
	return append(b, k.instance...)
}

func parseKey(b []byte) (key, error) {
	if len(b) < 1+digestLen || b[0] != entryPrefix {
		return key{}, fmt.Errorf("%w: %q is not the key of an entry", ErrInconsistent, b)
	}
	d, err := decodeDigest(b[1 : 1+digestLen])
	return key{instance: string(b[1+digestLen:]), action: d}, err
}

func orderKey(seq uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{orderPrefix}, seq)
}

// record is what Badger keeps of an entry.
type record struct {
	index  uint64        // of the command log, at which it was written
	seq    uint64        // of its order key
	blob   digest.Digest // of the result, when it is not inline
	result []byte        // serialised ActionResult
}

const recordHeader = 1 + 8 + 8 + 1

func (r *record) bytes() []byte {
	b := make([]byte, 0, recordHeader+digestLen+len(r.result))
	b = append(b, formatVersion)
	b = binary.BigEndian.AppendUint64(b, r.index)
	b = binary.BigEndian.AppendUint64(b, r.seq)
	if r.blob.IsZero() {
		return append(append(b, 0), r.result...)
	}
	return appendDigest(append(b, 1), r.blob)
}

// parseRecord reads a record; its result shares memory with b.
func parseRecord(b []byte) (r record, err error) {
	if len(b) < recordHeader || b[0] != formatVersion || b[17] > 1 {
		return r, fmt.Errorf("%w: a record of %d bytes that this version cannot read", ErrInconsistent, len(b))
	}
	r.index, r.seq = binary.BigEndian.Uint64(b[1:]), binary.BigEndian.Uint64(b[9:])
	if b[17] == 0 {
		r.result = b[recordHeader:]
		return r, nil
	}
	r.blob, err = decodeDigest(b[recordHeader:])
	return r, err
}

// meta is what the store knows of itself.
type meta struct {
	applied uint64 // index of the last Apply
	next    uint64 // sequence of the next put
	oldest  uint64 // no order key is below
	entries uint64
	begun   uint64 // index of the last Apply of which anything was written
}

const metaLen = 1 + 5*8

func (m meta) bytes() []byte {
	b := []byte{formatVersion}
	for _, v := range [...]uint64{m.applied, m.next, m.oldest, m.entries, m.begun} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

func parseMeta(b []byte) (m meta, err error) {
	if len(b) != metaLen || b[0] != formatVersion {
		return m, fmt.Errorf("%w: its format is not version %d", ErrInconsistent, formatVersion)
	}
	for i, v := range [...]*uint64{&m.applied, &m.next, &m.oldest, &m.entries, &m.begun} {
		*v = binary.BigEndian.Uint64(b[1+8*i:])
	}
	return m, nil
}

// orderOf returns the sequence of an order key, 0 when it is none.
func orderOf(k []byte) uint64 {
	if len(k) != 9 {
		return 0
	}
	return binary.BigEndian.Uint64(k[1:])
}
