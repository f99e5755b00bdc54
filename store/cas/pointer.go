package cas

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A value in Badger is a pack, or says where in the data file the pack lies:
//
//	0x80 | version 1 | 0 2 | length 4 | offset 8 | CRC32C of these 4
//
// The first byte of a pack is the kind of its first entry, which is never 0x80.
const (
	pointerMark    = 0x80
	pointerVersion = 1
	pointerBytes   = 20
)

// pointer is where a pack lies in the data file.
type pointer struct {
	offset int64
	length uint32
}

func (p pointer) encode() []byte {
	b := make([]byte, 0, pointerBytes)
	b = append(b, pointerMark, pointerVersion, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, p.length)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.offset))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli()))
}

func isPointer(value []byte) bool { return len(value) > 0 && value[0] == pointerMark }

func decodePointer(b []byte) (pointer, error) {
	if len(b) != pointerBytes || !isPointer(b) || b[1] != pointerVersion ||
		crc32.Checksum(b[:pointerBytes-4], castagnoli()) != binary.LittleEndian.Uint32(b[pointerBytes-4:]) {
		return pointer{}, fmt.Errorf("pointer of %d bytes: %w", len(b), errDamaged)
	}
	p := pointer{length: binary.LittleEndian.Uint32(b[4:]), offset: int64(binary.LittleEndian.Uint64(b[8:]))}
	if p.offset < 0 || p.offset+int64(p.length) > maxDataBytes {
		return pointer{}, fmt.Errorf("pointer to %d: %w", p.offset, errDamaged)
	}
	return p, nil
}
