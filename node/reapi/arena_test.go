package reapi

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/mem"
)

// TestAnArenaIsUsedAgainWhenItsLastPartIsFreed: memory that is being sent belongs
// to nobody else, and then to the next.
func TestAnArenaIsUsedAgainWhenItsLastPartIsFreed(t *testing.T) {
	pool := &countingPool{}
	a := &arena{pool: pool}
	whole := a.alloc(200_000)
	for i := range whole {
		whole[i] = byte(i)
	}
	own := []byte("memory of its own")
	parts := []mem.Buffer{a.part(whole[:100_000]), a.part(own), a.part(whole[100_000:150_000])}
	a.free()
	a.free()
	for i, want := range [][]byte{whole[:100_000], own, whole[100_000:150_000]} {
		if !bytes.Equal(parts[i].ReadOnlyData(), want) {
			t.Errorf("part %d has another content", i)
		}
	}
	for i, p := range parts {
		if pool.returned != 0 {
			t.Fatalf("the memory went back before part %d was freed", i)
		}
		p.Free()
	}
	if pool.returned != 1 {
		t.Errorf("the memory went back %d times", pool.returned)
	}
}

func TestArenasHaveTheLengthAskedFor(t *testing.T) {
	var pool arenaPool
	for _, n := range []int{1, 1 << smallestArena, 1<<smallestArena + 1, 1 << largestArena, 1<<largestArena + 1} {
		for range 2 {
			b := pool.Get(n)
			if len(*b) != n {
				t.Errorf("%d bytes instead of %d", len(*b), n)
			}
			pool.Put(b)
		}
	}
}

// countingPool counts what comes back.
type countingPool struct {
	arenaPool
	returned int
}

func (p *countingPool) Put(b *[]byte) {
	p.returned++
	p.arenaPool.Put(b)
}
