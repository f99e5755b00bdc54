package cas

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

const mib = 1 << 20

// testOptions are of a small store whose background work says nothing.
func testOptions(dir string) Options {
	return Options{Dir: dir, MaxBytes: MinMaxBytes, ScrubInterval: -1, Logger: slog.New(slog.DiscardHandler)}
}

func openStore(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// content is n bytes that depend on seed and do not compress.
func content(seed uint64, n int) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	data := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(data)
	return data
}

func blobOf(data []byte) Blob { return Blob{Digest: digest.Of(digest.SHA256, data), Data: data} }

func testBlob(seed uint64, n int) Blob { return blobOf(content(seed, n)) }

func put(t testing.TB, s *Store, blobs ...Blob) {
	t.Helper()
	if err := errors.Join(s.PutMany(t.Context(), Upload, blobs)...); err != nil {
		t.Fatalf("put: %v", err)
	}
}

// stream writes a blob through a Writer, some bytes at a time.
func stream(ctx context.Context, s *Store, class Class, b Blob, step int) error {
	w, err := s.Writer(ctx, class, b.Digest)
	if err != nil {
		return err
	}
	defer w.Close()
	for data := b.Data; len(data) > 0; data = data[min(step, len(data)):] {
		if _, err := w.Write(data[:min(step, len(data))]); err != nil {
			return err
		}
	}
	return w.Commit()
}

// mustHave checks that blobs are present and read right.
func mustHave(t testing.TB, s *Store, blobs ...Blob) {
	t.Helper()
	for _, b := range blobs {
		data, err := s.Get(t.Context(), b.Digest)
		if err != nil {
			t.Fatalf("get %s: %v", b.Digest, err)
		}
		if !bytes.Equal(data, b.Data) {
			t.Fatalf("get %s: another content", b.Digest)
		}
	}
}

// mustMiss asks for presence first: a read would take out what it cannot read.
func mustMiss(t testing.TB, s *Store, b Blob) {
	t.Helper()
	if ok, err := s.Present(t.Context(), b.Digest); ok || err != nil {
		t.Fatalf("present %s: have %v, %v", b.Digest, ok, err)
	}
	if _, err := s.Get(t.Context(), b.Digest); !errors.Is(err, ErrNotFound) {
		t.Fatalf("get %s: have %v, want ErrNotFound", b.Digest, err)
	}
}

// mustMissOnceRead is for damage that only a read can find.
func mustMissOnceRead(t testing.TB, s *Store, b Blob) {
	t.Helper()
	if _, err := s.Get(t.Context(), b.Digest); !errors.Is(err, ErrNotFound) {
		t.Fatalf("get %s: have %v, want ErrNotFound", b.Digest, err)
	}
	mustMiss(t, s, b)
}

// eventually waits for what background work brings about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func isFull(err error) bool {
	var full *FullError
	return errors.As(err, &full)
}

// dataFiles returns the paths of the data files of all generations.
func dataFiles(dir string) []string {
	paths, _ := filepath.Glob(filepath.Join(dir, "gen-*", dataName))
	return paths
}
