package cas

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

func benchOptions(dir string) Options {
	return Options{Dir: dir, MaxBytes: 8 << 30, ScrubInterval: -1, Logger: slog.New(slog.DiscardHandler)}
}

// numbered makes n blobs of a size, cheaply.
func numbered(first, n, size int) []Blob {
	blobs := make([]Blob, n)
	for i := range blobs {
		data := make([]byte, size)
		binary.LittleEndian.PutUint64(data, uint64(first+i))
		blobs[i] = blobOf(data)
	}
	return blobs
}

func fillStore(b *testing.B, s *Store, n int) []digest.Digest {
	b.Helper()
	var names []digest.Digest
	for i := 0; i < n; i += 1000 {
		blobs := numbered(i, 1000, 1<<10)
		put(b, s, blobs...)
		for _, blob := range blobs {
			names = append(names, blob.Digest)
		}
	}
	return names
}

func BenchmarkFindMissing100Of100k(b *testing.B) {
	s := openStore(b, benchOptions(b.TempDir()))
	names := fillStore(b, s, 100_000)
	for i := range names {
		if i%2 == 0 {
			names[i].Hash[3] ^= 0x55 // half are missing
		}
	}
	at := 0
	for b.Loop() {
		at = (at + 37_700) % (len(names) - 100)
		if _, err := s.FindMissing(b.Context(), names[at:at+100]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPutMany(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10} {
		b.Run(fmt.Sprintf("64x%d", size), func(b *testing.B) {
			s := openStore(b, benchOptions(b.TempDir()))
			n := 0
			for b.Loop() {
				b.StopTimer()
				blobs := numbered(n, 64, size)
				n += 64
				b.StartTimer()
				put(b, s, blobs...)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "blobs/s")
		})
	}
}

func BenchmarkGetMany(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10} {
		b.Run(fmt.Sprintf("64x%d", size), func(b *testing.B) {
			s := openStore(b, benchOptions(b.TempDir()))
			var names []digest.Digest
			for i := 0; i < 6400; i += 64 {
				blobs := numbered(i, 64, size)
				put(b, s, blobs...)
				for _, blob := range blobs {
					names = append(names, blob.Digest)
				}
			}
			n := 0
			for b.Loop() {
				at := n % len(names)
				_, errs := s.GetMany(b.Context(), names[at:at+64])
				for _, err := range errs {
					if err != nil {
						b.Fatal(err)
					}
				}
				n += 64
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "blobs/s")
		})
	}
}

func BenchmarkStreamIn(b *testing.B) {
	data := make([]byte, 256*mib)
	s := openStore(b, benchOptions(b.TempDir()))
	n := uint64(0)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		b.StopTimer()
		n++
		binary.LittleEndian.PutUint64(data, n)
		blob := blobOf(data)
		b.StartTimer()
		if err := stream(b.Context(), s, Upload, blob, mib); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStreamOut(b *testing.B) {
	s := openStore(b, benchOptions(b.TempDir()))
	blob := blobOf(make([]byte, 256*mib))
	put(b, s, blob)
	b.SetBytes(blob.Digest.Size)
	buffer := make([]byte, PieceBytes)
	for b.Loop() {
		r, err := s.Reader(b.Context(), blob.Digest, 0)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, buffer); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpenMillion opens a store of a million blobs and tells what memory
// that takes which is not the page cache's.
func BenchmarkOpenMillion(b *testing.B) {
	o := benchOptions(b.TempDir())
	s := openStore(b, o)
	fillStore(b, s, 1_000_000)
	closeStore(b, s)
	before := anonymous(b)
	for b.Loop() {
		s, err := Open(context.Background(), o)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		b.ReportMetric(float64(anonymous(b)-before)/mib, "MiB-anonymous")
		closeStore(b, s)
		b.StartTimer()
	}
}

// anonymous returns the bytes of this process that no file backs.
func anonymous(b *testing.B) int64 {
	b.Helper()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	var kib int64
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			_, _ = fmt.Sscanf(rest, "%d", &kib)
		}
	}
	return kib << 10
}

// BenchmarkFloor is what the streams are bounded by.
func BenchmarkFloor(b *testing.B) {
	data := make([]byte, 16*mib)
	b.Run("sha256", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			digest.Of(digest.SHA256, data)
		}
	})
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		to := bytes.Clone(data)
		for b.Loop() {
			copy(to, data)
		}
	})
	b.Run("sync", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "f")
		for b.Loop() {
			if err := os.WriteFile(path, data[:4096], 0o600); err != nil {
				b.Fatal(err)
			}
			if err := syncFile(path); err != nil {
				b.Fatal(err)
			}
		}
	})
}
