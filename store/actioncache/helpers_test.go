package actioncache

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

var quiet = slog.New(slog.DiscardHandler)

// memBlobs is a storage in memory that counts what it is asked.
type memBlobs struct {
	mu      sync.Mutex
	data    map[digest.Digest][]byte
	touched map[digest.Digest]int
	asked   int // digests, by any method
	epoch   uint64
	bucket  time.Duration
	failed  error
}

func newBlobs() *memBlobs {
	return &memBlobs{data: map[digest.Digest][]byte{}, touched: map[digest.Digest]int{}, bucket: time.Hour}
}

func (b *memBlobs) put(data []byte) digest.Digest {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := digest.Of(digest.SHA256, data)
	b.data[d] = data
	return d
}

// file stores a file with the text as its content.
func (b *memBlobs) file(text string) digest.Digest { return b.put([]byte(text)) }

func (b *memBlobs) message(m proto.Message) digest.Digest { return b.put(marshal(m)) }

func marshal(m proto.Message) []byte {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	return data
}

// lose takes blobs away, and tells of it when loud.
func (b *memBlobs) lose(loud bool, ds ...digest.Digest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range ds {
		delete(b.data, d)
	}
	if loud {
		b.epoch++
	}
}

func (b *memBlobs) forgetTouches() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.touched)
	b.asked = 0
}

func (b *memBlobs) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked
}

func (b *memBlobs) findLocked(d digest.Digest) ([]byte, error) {
	b.asked++
	if b.failed != nil {
		return nil, b.failed
	}
	data, ok := b.data[d]
	if !ok && !d.IsEmpty() {
		return nil, cas.ErrNotFound
	}
	b.touched[d]++
	return data, nil
}

func (b *memBlobs) Get(_ context.Context, d digest.Digest) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.findLocked(d)
}

func (b *memBlobs) GetMany(_ context.Context, ds []digest.Digest) ([][]byte, []error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, errs := make([][]byte, len(ds)), make([]error, len(ds))
	for i, d := range ds {
		data[i], errs[i] = b.findLocked(d)
	}
	return data, errs
}

func (b *memBlobs) FindMissing(_ context.Context, ds []digest.Digest) (missing []digest.Digest, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range ds {
		if _, err := b.findLocked(d); err == cas.ErrNotFound {
			if !slices.Contains(missing, d) {
				missing = append(missing, d)
			}
		} else if err != nil {
			return nil, err
		}
	}
	return missing, nil
}

func (b *memBlobs) Bucket() time.Duration { return b.bucket }

func (b *memBlobs) LossEpoch() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.epoch
}

// dir builds a Directory.
type dir struct {
	files map[string]digest.Digest
	dirs  map[string]digest.Digest
	links map[string]string
}

func (d dir) proto() *repb.Directory {
	out := &repb.Directory{}
	for _, name := range sorted(d.files) {
		out.Files = append(out.Files, &repb.FileNode{Name: name, Digest: d.files[name].Proto()})
	}
	for _, name := range sorted(d.dirs) {
		out.Directories = append(out.Directories, &repb.DirectoryNode{Name: name, Digest: d.dirs[name].Proto()})
	}
	for _, name := range sorted(d.links) {
		out.Symlinks = append(out.Symlinks, &repb.SymlinkNode{Name: name, Target: d.links[name]})
	}
	return out
}

func sorted[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func openStore(t testing.TB, o Options) *Store {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Blobs == nil {
		o.Blobs = newBlobs()
	}
	o.Logger = quiet
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// apply writes at the next index.
func apply(t testing.TB, s *Store, ws ...Write) uint64 {
	t.Helper()
	index := s.AppliedIndex() + 1
	if err := s.Apply(index, ws); err != nil {
		t.Fatal(err)
	}
	return index
}

func put(action digest.Digest, r *repb.ActionResult) Write {
	return Write{Instance: "main", Action: action, Result: marshal(r)}
}

func actionNamed(name string) digest.Digest { return digest.Of(digest.SHA256, []byte("action "+name)) }

func check(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Check(context.Background()); err != nil {
		t.Error(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
