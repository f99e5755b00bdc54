package cas

import (
	"sync"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// packer lays entries into packs, all in one buffer.
type packer struct {
	pools   *buffers
	buffer  *[]byte
	start   int // of the current pack in the buffer
	from    int // its first record
	records []record
	stamps  []stamp // empty: all used now
	packs   []packed
}

// newPacker makes room for n entries of total bytes, headers included.
func (s *Store) newPacker(total, n int) *packer {
	return &packer{
		pools: &s.buffers, buffer: s.buffers.get(total),
		records: make([]record, 0, n), packs: make([]packed, 0, 1+total/packBytes*2),
	}
}

// free gives the buffer back. Badger has copied the packs when a commit returns.
func (p *packer) free() { p.pools.put(p.buffer) }

func (p *packer) addBlob(d digest.Digest, data []byte) { p.add(kindBlob, d, data) }

// addUsed adds a blob that was used at another time than now. Either all of a
// packer's are added so or none.
func (p *packer) addUsed(d digest.Digest, data []byte, at stamp) {
	p.stamps = append(p.stamps, at)
	p.add(kindBlob, d, data)
}

// add appends an entry, in a new pack when the current one would get too long.
func (p *packer) add(k kind, d digest.Digest, data []byte) {
	length := entryHeader + len(data)
	if used := len(*p.buffer) - p.start; used > 0 && used+length > packBytes {
		p.endPack()
	}
	off := uint32(len(*p.buffer) - p.start)
	*p.buffer = appendEntry(*p.buffer, k, d, data)
	p.records = append(p.records, record{fp: fingerprintOf(d), size: d.Size, off: off, kind: k})
}

func (p *packer) endPack() {
	one := packed{data: (*p.buffer)[p.start:], records: p.records[p.from:]}
	if len(p.stamps) > 0 {
		one.stamps = p.stamps[p.from:]
	}
	p.packs = append(p.packs, one)
	p.start, p.from = len(*p.buffer), len(p.records)
}

// finish returns the packs, which are valid until free.
func (p *packer) finish() []packed {
	if len(*p.buffer) > p.start {
		p.endPack()
	}
	return p.packs
}

// buffers keeps memory for packs and pieces, by size.
type buffers struct{ pools [4]sync.Pool }

const (
	smallBuffer  = packBytes + 32<<10
	pieceBuffer  = pieceBytes + entryHeader
	mediumBuffer = maxWhole + entryHeader
	largeBuffer  = groupBytes + 64<<10
)

func bufferPool(n int) (pool, size int) {
	switch {
	case n <= smallBuffer:
		return 0, smallBuffer
	case n <= pieceBuffer:
		return 1, pieceBuffer
	case n <= mediumBuffer:
		return 2, mediumBuffer
	default:
		return 3, max(n, largeBuffer)
	}
}

// get returns an empty buffer that takes n bytes without growing.
func (b *buffers) get(n int) *[]byte {
	i, size := bufferPool(n)
	if p, ok := b.pools[i].Get().(*[]byte); ok && cap(*p) >= n {
		*p = (*p)[:0]
		return p
	}
	buf := make([]byte, 0, size)
	return &buf
}

func (b *buffers) put(p *[]byte) {
	i, _ := bufferPool(cap(*p))
	b.pools[i].Put(p)
}
