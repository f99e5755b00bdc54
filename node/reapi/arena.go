package reapi

import (
	"math/bits"
	"sync"

	"google.golang.org/grpc/mem"
)

// arena is the memory that the blobs of one answer are read into. It goes back to
// its pool when it and every part of it are freed. Without memory it is empty.
type arena struct {
	pool   mem.BufferPool
	bytes  []byte
	buffer mem.Buffer
}

// alloc returns n bytes of any content. It is called once.
func (a *arena) alloc(n int) []byte {
	p := a.pool.Get(n)
	a.bytes, a.buffer = *p, mem.NewBuffer(p, a.pool)
	return a.bytes
}

// part returns a Buffer of data, which keeps the arena when it lies in it. The
// store hands out parts of the arena that have its end as theirs, and memory of
// its own.
func (a *arena) part(data []byte) mem.Buffer {
	at := cap(a.bytes) - cap(data)
	if a.buffer == nil || len(data) == 0 || at < 0 || at+len(data) > len(a.bytes) || &a.bytes[at] != &data[0] {
		return mem.SliceBuffer(data)
	}
	return a.buffer.Slice(at, at+len(data))
}

// free ends the use of the arena but for its parts.
func (a *arena) free() {
	if a.buffer != nil {
		a.buffer.Free()
		a.buffer = nil
	}
}

// The sizes are powers of two.
const (
	smallestArena = 8 // bits
	largestArena  = 23
)

// arenaPool keeps memory by size. Unlike grpc-go's pool it does not clear it,
// which costs as much as a copy: what is taken from it is filled, by a message
// that came in or by blobs that go out, before anybody reads it.
type arenaPool struct {
	sizes [largestArena - smallestArena + 1]sync.Pool
}

// Get implements mem.BufferPool.
func (p *arenaPool) Get(length int) *[]byte {
	class := max(bits.Len(uint(length-1)), smallestArena)
	if class > largestArena {
		b := make([]byte, length)
		return &b
	}
	if b, ok := p.sizes[class-smallestArena].Get().(*[]byte); ok {
		*b = (*b)[:length]
		return b
	}
	b := make([]byte, length, 1<<class)
	return &b
}

// Put implements mem.BufferPool.
func (p *arenaPool) Put(b *[]byte) {
	if class := bits.Len(uint(cap(*b) - 1)); cap(*b) == 1<<class && class >= smallestArena && class <= largestArena {
		p.sizes[class-smallestArena].Put(b)
	}
}
