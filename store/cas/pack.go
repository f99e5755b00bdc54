package cas

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// A pack is one value in Badger: entries one after the other, each a header and
// its data. It tells all that the index knows, so an index can be made again.
//
//	kind 1 | function 1 | 0 2 | data length 4 | size 8 | hash 32 | data
//
// For a blob size is the data's length; for a list it is the whole blob's; a
// piece carries the hash of the whole blob and, as size, its offset in it.
const entryHeader = 48

// errDamaged says that what lies on the disk is not what was written.
var errDamaged = errors.New("the stored data is damaged")

// entry is one parsed entry. data points into the pack.
type entry struct {
	kind   kind
	digest digest.Digest
	data   []byte
	off    uint32
}

// appendEntry adds an entry to a pack.
func appendEntry(pack []byte, k kind, d digest.Digest, data []byte) []byte {
	return append(appendHeader(pack, k, d, len(data)), data...)
}

// appendHeader adds the header of an entry with n bytes of data.
func appendHeader(pack []byte, k kind, d digest.Digest, n int) []byte {
	pack = append(pack, byte(k), byte(d.Function), 0, 0)
	pack = binary.LittleEndian.AppendUint32(pack, uint32(n))
	pack = binary.LittleEndian.AppendUint64(pack, uint64(d.Size))
	return append(pack, d.Hash[:]...)
}

// entryAt parses the entry whose header is at off.
func entryAt(pack []byte, off uint32) (entry, error) {
	if uint64(off)+entryHeader > uint64(len(pack)) {
		return entry{}, fmt.Errorf("entry at %d of %d bytes: %w", off, len(pack), errDamaged)
	}
	h := pack[off:]
	e := entry{kind: kind(h[0]), off: off}
	n := uint64(binary.LittleEndian.Uint32(h[4:]))
	e.digest.Function = digest.Function(h[1])
	e.digest.Size = int64(binary.LittleEndian.Uint64(h[8:]))
	copy(e.digest.Hash[:], h[16:])
	if e.kind < kindBlob || e.kind > kindPiece || n > uint64(len(h)-entryHeader) {
		return entry{}, fmt.Errorf("entry at %d of %d bytes: %w", off, len(pack), errDamaged)
	}
	e.data = h[entryHeader : entryHeader+n : entryHeader+n]
	return e, nil
}

// entries calls visit for each entry of a pack.
func entries(pack []byte, visit func(entry) error) error {
	for off := 0; off < len(pack); {
		e, err := entryAt(pack, uint32(off))
		if err != nil {
			return err
		}
		if err := visit(e); err != nil {
			return err
		}
		off += entryHeader + len(e.data)
	}
	return nil
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
