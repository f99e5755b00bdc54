package actioncache

import (
	"fmt"
	"sync/atomic"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

func BenchmarkGetHit(b *testing.B) {
	blobs := newBlobs()
	s := openStore(b, Options{Blobs: blobs})
	var actions []digest.Digest
	for i := range 1000 {
		actions = append(actions, actionNamed(fmt.Sprint(i)))
		out := blobs.file(fmt.Sprint(i))
		apply(b, s, put(actions[i], &repb.ActionResult{OutputFiles: []*repb.OutputFile{{Path: "a.o", Digest: out.Proto()}}}))
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := s.Get(b.Context(), "main", actions[i%1000]); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkInputRoot(b *testing.B) {
	blobs := newBlobs()
	root := func(salt int) digest.Digest { // 200 directories of 20 files
		top := dir{dirs: map[string]digest.Digest{}}
		for i := range 200 {
			d := dir{files: map[string]digest.Digest{}}
			for k := range 20 {
				d.files[fmt.Sprintf("file-%d.c", k)] = blobs.file(fmt.Sprint(salt, i, k))
			}
			top.dirs[fmt.Sprintf("dir-%d", i)] = blobs.message(d.proto())
		}
		return blobs.message(top.proto())
	}
	d := root(0)
	for _, state := range []string{"warm", "next-bucket", "cold"} {
		b.Run(state, func(b *testing.B) {
			s := openStore(b, Options{Blobs: blobs})
			b.ReportAllocs()
			for b.Loop() {
				switch state {
				case "next-bucket":
					blobs.lose(true)
				case "cold":
					blobs.lose(true)
					s.nodes = newMemo[nodeKey, *node](1 << 20)
				}
				if missing, err := s.InputRoot(b.Context(), d); err != nil || len(missing) > 0 {
					b.Fatal(missing, err)
				}
			}
		})
	}
}

func BenchmarkApply(b *testing.B) {
	for _, group := range []int{1, 32, 256} {
		b.Run(fmt.Sprint(group), func(b *testing.B) {
			s := openStore(b, Options{})
			var n atomic.Int64
			for b.Loop() {
				ws := make([]Write, group)
				for i := range ws {
					ws[i] = Write{Instance: "main", Action: actionNamed(fmt.Sprint(n.Add(1))), Result: make([]byte, 700)}
				}
				apply(b, s, ws...)
			}
			b.ReportMetric(float64(group*b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}
