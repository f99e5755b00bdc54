package cas

import (
	"encoding/binary"
	"fmt"
)

// place is where a piece of a larger blob lies: it is the only entry of its pack.
type place struct {
	generation uint32
	pack       uint32
	length     uint32
}

// A list is the data of an entry of kindList:
//
//	version 1 | flags 1 | bytes of a place 2 | number of places 4 | places
//	place: generation 4 | pack 4 | length 4 | 0 4
//
// Version 1 names pieces by place. Another version may name chunks by digest (as
// content-defined chunking wants); the width of a place is in the header so that
// a digest can be added to each.
const (
	listVersion = 1
	listHeader  = 8
	placeBytes  = 16
)

func encodeList(places []place) []byte {
	b := make([]byte, 0, listHeader+placeBytes*len(places))
	b = append(b, listVersion, 0, placeBytes, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(places)))
	for _, p := range places {
		b = binary.LittleEndian.AppendUint32(b, p.generation)
		b = binary.LittleEndian.AppendUint32(b, p.pack)
		b = binary.LittleEndian.AppendUint32(b, p.length)
		b = append(b, 0, 0, 0, 0)
	}
	return b
}

// decodeList parses the list of a blob of size bytes; the pieces' lengths must
// add up to it.
func decodeList(b []byte, size int64) ([]place, error) {
	if len(b) < listHeader || b[0] != listVersion || binary.LittleEndian.Uint16(b[2:]) != placeBytes {
		return nil, fmt.Errorf("list of %d bytes: %w", len(b), errDamaged)
	}
	n := int64(binary.LittleEndian.Uint32(b[4:]))
	if int64(len(b)) != listHeader+n*placeBytes {
		return nil, fmt.Errorf("list of %d bytes: %w", len(b), errDamaged)
	}
	places := make([]place, n)
	for i := range places {
		e := b[listHeader+i*placeBytes:]
		places[i] = place{
			generation: binary.LittleEndian.Uint32(e[0:]),
			pack:       binary.LittleEndian.Uint32(e[4:]),
			length:     binary.LittleEndian.Uint32(e[8:]),
		}
		size -= int64(places[i].length)
	}
	if size != 0 {
		return nil, fmt.Errorf("list of %d pieces: the lengths differ by %d: %w", n, size, errDamaged)
	}
	return places, nil
}

// backOf tells how many generations before id the oldest piece lies.
func backOf(id uint32, places []place) uint8 {
	back := uint32(0)
	for _, p := range places {
		if p.generation < id {
			back = max(back, id-p.generation)
		} else if p.generation > id {
			back = 255
		}
	}
	return uint8(min(back, 255))
}
