package placement

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// reportCPU reports the processor time of all nodes for each operation, which holds
// on a busy machine too. more is taken out again.
func reportCPU(b *testing.B) (report func(more int64), used func() int64) {
	used = func() int64 {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := used()
	return func(more int64) { b.ReportMetric(float64(used()-before-more)/1e3/float64(b.N), "cpu-µs/op") }, used
}

// BenchmarkFindMissing asks for 100 digests that are there: of the store, of a
// cluster of three that knows the answer, and of one that does not.
func BenchmarkFindMissing(b *testing.B) {
	g := newGrid(b, 3)
	list := blobs(100, 1000, 1)
	g.nodes[0].put(b, list...)
	local := g.add()
	local.put(b, list...)
	ds := digests(list)
	ask := func(b *testing.B, n *node, forget bool) {
		report, _ := reportCPU(b)
		defer report(0)
		for b.Loop() {
			if forget {
				n.blobs.losses.Add(1)
			}
			if missing, err := n.blobs.FindMissing(b.Context(), ds); err != nil || len(missing) > 0 {
				b.Fatal(missing, err)
			}
		}
	}
	b.Run("store", func(b *testing.B) { ask(b, local, false) })
	b.Run("known", func(b *testing.B) { ask(b, g.nodes[0], false) })
	b.Run("asked", func(b *testing.B) { ask(b, g.nodes[0], true) })
	gone := digests(blobs(100, 10, 2))
	b.Run("missing", func(b *testing.B) {
		for b.Loop() {
			if missing, err := g.nodes[0].blobs.FindMissing(b.Context(), gone); err != nil || len(missing) != 100 {
				b.Fatal(missing, err)
			}
		}
	})
}

// BenchmarkPutMany stores 64 blobs of 16 KiB: in the store, and on two of three.
func BenchmarkPutMany(b *testing.B) {
	g := newGrid(b, 3, option{maxBytes: 8 << 30})
	local := g.add(option{maxBytes: 8 << 30})
	seed := uint64(0)
	put := func(b *testing.B, n *node) {
		b.SetBytes(64 * 16 << 10)
		report, used := reportCPU(b)
		prepared := int64(0)
		for b.Loop() {
			b.StopTimer()
			before := used()
			seed++
			list := blobs(64, 16<<10, seed)
			prepared += used() - before
			b.StartTimer()
			n.put(b, list...)
		}
		report(prepared)
	}
	b.Run("store", func(b *testing.B) { put(b, local) })
	b.Run("cluster", func(b *testing.B) { put(b, g.nodes[0]) })
}

// BenchmarkStream writes and reads 32 MiB through an owner and another node.
func BenchmarkStream(b *testing.B) {
	g := newGrid(b, 3, option{maxBytes: 8 << 30})
	local := g.add(option{maxBytes: 8 << 30})
	seed := uint64(0)
	write := func(b *testing.B, node func(digest.Digest) *node) {
		b.SetBytes(32 << 20)
		report, used := reportCPU(b)
		prepared := int64(0)
		defer func() { report(prepared) }()
		for b.Loop() {
			b.StopTimer()
			before := used()
			seed++
			c := blob(32<<20, seed)
			n := node(c.Digest)
			prepared += used() - before
			b.StartTimer()
			if err := n.write(b.Context(), c, 1<<20); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("write/store", func(b *testing.B) { write(b, func(digest.Digest) *node { return local }) })
	b.Run("write/owner", func(b *testing.B) { write(b, func(d digest.Digest) *node { return g.rank(d, 0) }) })
	b.Run("write/other", func(b *testing.B) { write(b, func(d digest.Digest) *node { return g.rank(d, 2) }) })
	c := blob(32<<20, 1<<50)
	g.nodes[0].put(b, c)
	local.put(b, c)
	read := func(b *testing.B, n *node) {
		buffer := make([]byte, cas.PieceBytes)
		b.SetBytes(32 << 20)
		report, _ := reportCPU(b)
		defer report(0)
		for b.Loop() {
			r, err := n.blobs.OpenReader(b.Context(), c.Digest, 0)
			for err == nil {
				_, err = r.Read(buffer)
			}
			if r != nil {
				_ = r.Close()
			}
		}
	}
	b.Run("read/store", func(b *testing.B) { read(b, local) })
	b.Run("read/owner", func(b *testing.B) { read(b, g.rank(c.Digest, 0)) })
	b.Run("read/other", func(b *testing.B) { read(b, g.rank(c.Digest, 2)) })
}
