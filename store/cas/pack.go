package cas

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// A pack is entries one after the other, each a header and its data: what one
// key in Badger stands for. It tells all that the index knows, so an index can be
// made again.
//
//	kind 1 | function 1 | 0 2 | data length 4 | size 8 | hash 32 | CRC32C 4 | data
//
// For a blob size is the data's length; for a list it is the whole blob's; a
// piece carries the hash of the whole blob and, as size, its offset in it. The
// checksum covers the rest of the header and the data, so one entry can be read
// without the others.
const (
	entryHeader = 52
	checksumAt  = entryHeader - 4
)

// errDamaged says that what lies on the disk is not what was written.
var errDamaged = errors.New("the stored data is damaged")

// entry is one parsed entry. data points into the pack.
type entry struct {
	kind   kind
	digest digest.Digest
	data   []byte
	off    int64 // where its header lies, as a record says it
	file   bool  // in the data file
}

// record is what an index says of an entry.
func (e entry) record(pack uint32) record {
	return record{fp: fingerprintOf(e.digest), size: e.digest.Size, pack: pack, off: e.off, kind: e.kind, file: e.file}
}

// packBody is the bytes of a pack, and where they lie in the data file. Those in
// Badger itself begin at 0.
type packBody struct {
	data []byte
	at   int64
	file bool
}

// appendEntry adds an entry to a pack.
func appendEntry(pack []byte, k kind, d digest.Digest, data []byte) []byte {
	from := len(pack)
	pack = appendHeader(pack, k, d, len(data))
	sealHeader(pack[from:], data)
	return append(pack, data...)
}

// appendHeader adds the header of an entry with n bytes of data, but for its
// checksum.
func appendHeader(pack []byte, k kind, d digest.Digest, n int) []byte {
	pack = append(pack, byte(k), byte(d.Function), 0, 0)
	pack = binary.LittleEndian.AppendUint32(pack, uint32(n))
	pack = binary.LittleEndian.AppendUint64(pack, uint64(d.Size))
	pack = append(pack, d.Hash[:]...)
	return append(pack, 0, 0, 0, 0)
}

// sealHeader writes the checksum of an entry into its header.
func sealHeader(header, data []byte) {
	binary.LittleEndian.PutUint32(header[checksumAt:], entryChecksum(header, data))
}

func entryChecksum(header, data []byte) uint32 {
	return crc32.Update(crc32.Checksum(header[:checksumAt], castagnoli()), castagnoli(), data)
}

// parseHeader reads a header and tells how much data belongs to it.
func parseHeader(h []byte) (e entry, length uint32, ok bool) {
	if len(h) < entryHeader {
		return entry{}, 0, false
	}
	e.kind = kind(h[0])
	e.digest.Function = digest.Function(h[1])
	e.digest.Size = int64(binary.LittleEndian.Uint64(h[8:]))
	copy(e.digest.Hash[:], h[16:])
	return e, binary.LittleEndian.Uint32(h[4:]), e.kind >= kindBlob && e.kind <= kindPiece
}

// checkEntry parses an entry whose header and data lie apart, and verifies its
// checksum. data may be longer than what belongs to it.
func checkEntry(header, data []byte) (entry, error) {
	e, n, ok := parseHeader(header)
	if !ok || uint64(n) > uint64(len(data)) {
		return entry{}, fmt.Errorf("no entry: %w", errDamaged)
	}
	e.data = data[:n:n]
	if entryChecksum(header, e.data) != binary.LittleEndian.Uint32(header[checksumAt:]) {
		return e, fmt.Errorf("entry of %d bytes, wrong checksum: %w", n, errDamaged)
	}
	return e, nil
}

// entryAt parses and verifies the entry whose header is at off in a pack. With a
// wrong checksum it returns an entry nevertheless, to find the next one.
func entryAt(pack []byte, off int64) (entry, error) {
	if off < 0 || off+entryHeader > int64(len(pack)) {
		return entry{}, fmt.Errorf("entry at %d of %d bytes: %w", off, len(pack), errDamaged)
	}
	return checkEntry(pack[off:off+entryHeader], pack[off+entryHeader:])
}

// only returns the one entry of a pack that must have no other.
func (b packBody) only() (entry, error) {
	e, err := entryAt(b.data, 0)
	if err == nil && entryHeader+len(e.data) != len(b.data) {
		err = fmt.Errorf("an entry of %d bytes in a pack of %d: %w", len(e.data), len(b.data), errDamaged)
	}
	return e, err
}

// entries calls visit for each entry of a pack that is right, and returns
// errDamaged in the end when one was not.
func (b packBody) entries(visit func(entry) error) error {
	if len(b.data) == 0 {
		return fmt.Errorf("empty pack: %w", errDamaged)
	}
	var damaged error
	for off := int64(0); off < int64(len(b.data)); {
		e, err := entryAt(b.data, off)
		if err != nil && e.kind == kindNone {
			return err
		}
		if e.off, e.file = b.at+off, b.file; err != nil {
			damaged = err
		} else if err := visit(e); err != nil {
			return err
		}
		off += entryHeader + int64(len(e.data))
	}
	return damaged
}

// packKey is the key of a pack in Badger.
func packKey(pack uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{'p'}, pack)
}

func parsePackKey(key []byte) (uint32, bool) {
	if len(key) != 5 || key[0] != 'p' {
		return 0, false
	}
	return binary.BigEndian.Uint32(key[1:]), true
}
