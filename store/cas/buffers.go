package cas

import "sync"

// buffers keeps memory for packs and pieces, by size.
type buffers struct{ pools [4]sync.Pool }

const (
	smallBuffer  = 128 << 10
	pieceBuffer  = pieceBytes + entryHeader
	mediumBuffer = packBytes
	largeBuffer  = 8 << 20
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

// filled is get for a buffer of n bytes of any content.
func (b *buffers) filled(n int) *[]byte {
	p := b.get(n)
	*p = (*p)[:n]
	return p
}
