package client

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// noise returns n bytes that differ from seed to seed.
func noise(n int, seed byte) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

func TestUploadGoesOnWhereTheServerGotTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{caps: capsWith(0), cutWrites: []int64{5 << 20, 1 << 20}}
		c := serve(t, f, Options{})
		data := noise(9<<20, 1)
		p := &Progress{}
		if _, err := c.Upload(t.Context(), []Source{Blob(digest.SHA256, data)}, p); err != nil {
			t.Fatal(err)
		}
		if have, _ := f.get(digest.Of(digest.SHA256, data)); !bytes.Equal(have, data) {
			t.Fatal("the server has other content")
		}
		if f.received != int64(len(data)) {
			t.Errorf("sent %d bytes for a blob of %d: not resumed", f.received, len(data))
		}
		if s := p.State(); s.Bytes != int64(len(data)) || s.AllBytes != s.Bytes || s.Blobs != 1 || s.AllBlobs != 1 {
			t.Errorf("progress is %+v", s)
		}
	})
}

func TestUploadStartsAnewWithServersThatCannotResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{noStatus: true, cutWrites: []int64{5 << 20}}
		c := serve(t, f, Options{})
		data := noise(6<<20, 1)
		if _, err := c.UploadBlob(t.Context(), data); err != nil {
			t.Fatal(err)
		}
		if len(f.starts) != 2 || f.starts[1] != 0 || len(f.partial) != 2 {
			t.Errorf("attempts began at %v under %d names, want a new name from 0", f.starts, len(f.partial))
		}
	})
}

// The reply to the last message was lost: the blob is there, so nothing is sent again.
func TestUploadIsDoneWhenTheServerSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := noise(5<<20, 1)
		f := &fake{caps: capsWith(0), cutWrites: []int64{5 << 20}}
		c := serve(t, f, Options{})
		f.fault = func(method string, _ int) error {
			if method == "QueryWriteStatus" {
				f.blobs[digest.Of(digest.SHA256, data)] = data // the write was committed all the same
			}
			return nil
		}
		if _, err := c.UploadBlob(t.Context(), data); err != nil {
			t.Fatal(err)
		}
		if n := f.count("Write"); n != 1 {
			t.Errorf("%d writes, want 1", n)
		}
	})
}

func TestUploadSendsOnceWhatIsMissingWithinTheLimit(t *testing.T) {
	const limit = 64 << 10
	f := &fake{caps: capsWith(limit)}
	c := serve(t, f, Options{})
	var sources []Source
	for i := range 40 {
		sources = append(sources, Blob(digest.SHA256, noise(10<<10, byte(i))))
	}
	sources = append(sources, sources[3], Blob(digest.SHA256, nil), Blob(digest.SHA256, noise(limit, 99)))
	f.put(sources[0].Data)
	stats, err := c.Upload(t.Context(), sources, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := (UploadStats{Blobs: 42, Bytes: 400<<10 + limit, SentBlobs: 40, SentBytes: 390<<10 + limit}); stats != want {
		t.Errorf("stats are %+v, want %+v", stats, want)
	}
	for _, size := range f.batches {
		if size > limit {
			t.Errorf("a batch message of %d bytes, the limit is %d", size, limit)
		}
	}
	if f.count("Write") != 1 || f.named[sources[3].Digest] != 1 || f.named[sources[0].Digest] != 0 {
		t.Errorf("%d writes, equal blobs sent %d times, a present one %d", f.count("Write"), f.named[sources[3].Digest], f.named[sources[0].Digest])
	}
}

func TestServersWithoutBatchesOrCapabilities(t *testing.T) {
	for name, f := range map[string]*fake{
		"neither":             {noBatch: true, noTree: true},
		"smaller than usual":  {fault: refuse("Batch", codes.ResourceExhausted)},
		"capabilities denied": {caps: capsWith(1)},
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, f, Options{})
			a, b := noise(100, 1), noise(200, 2)
			if _, err := c.Upload(t.Context(), []Source{Blob(digest.SHA256, a), Blob(digest.SHA256, b)}, nil); err != nil {
				t.Fatal(err)
			}
			have, err := c.FetchBytes(t.Context(), digest.Of(digest.SHA256, b), 1000)
			if err != nil || !bytes.Equal(have, b) {
				t.Errorf("fetched %d bytes, %v", len(have), err)
			}
		})
	}
}

// refuse returns a fault for every method whose name begins with prefix.
func refuse(prefix string, code codes.Code) func(string, int) error {
	return func(method string, _ int) error {
		if strings.HasPrefix(method, prefix) {
			return status.Error(code, "refused")
		}
		return nil
	}
}

// A full store asks for a pause (P3): only what was refused is sent again, and not sooner.
func TestUploadWaitsAsLongAsTheServerAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full, err := status.New(codes.ResourceExhausted, "the store is full").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(40 * time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		a, b := Blob(digest.SHA256, noise(10, 1)), Blob(digest.SHA256, noise(10, 2))
		f := &fake{caps: capsWith(0), blobFault: func(d digest.Digest, n int) error {
			if d == a.Digest && n == 1 {
				return full.Err()
			}
			return nil
		}}
		c := serve(t, f, Options{})
		start := time.Now()
		if _, err := c.Upload(t.Context(), []Source{a, b}, nil); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 40*time.Second || f.named[b.Digest] != 1 {
			t.Errorf("took %s and sent what was accepted %d times", took, f.named[b.Digest])
		}
	})
}

func TestUploadRefusesAFileThatChanged(t *testing.T) {
	for _, size := range []int{1000, 6 << 20} {
		for _, newSize := range []int{size - 10, size} {
			path := filepath.Join(t.TempDir(), "f")
			write(t, path, noise(size, 1))
			s, err := FileSource(digest.SHA256, path)
			if err != nil {
				t.Fatal(err)
			}
			write(t, path, noise(newSize, 2))
			c := serve(t, &fake{caps: capsWith(0)}, Options{})
			_, err = c.Upload(t.Context(), []Source{s}, nil)
			if !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), path) {
				t.Errorf("%d bytes, now %d: %v, want ErrChanged with the path", size, newSize, err)
			}
		}
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}
