package placement

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// write stores a blob as a stream through a node, in parts.
func (n *node) write(ctx context.Context, b cas.Blob, part int) error {
	w, err := n.blobs.OpenWriter(ctx, cas.Upload, b.Digest, "")
	if err != nil {
		return err
	}
	defer w.Close() //nolint:errcheck // it never fails
	for data := b.Data; len(data) > 0; {
		k := min(part, len(data))
		if _, err := w.Write(data[:k]); err != nil {
			return err
		}
		data = data[k:]
	}
	return w.Commit()
}

// read reads a blob as a stream through a node.
func (n *node) read(ctx context.Context, d digest.Digest, offset int64) ([]byte, error) {
	r, err := n.blobs.OpenReader(ctx, d, offset)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // it never fails
	return io.ReadAll(r)
}

// wantEverywhere checks that each node that lives reads all the blobs, in batches
// and as streams.
func (g *grid) wantEverywhere(list []cas.Blob, except ...*node) {
	g.t.Helper()
	for _, n := range g.nodes {
		if slices.Contains(except, n) {
			continue
		}
		datas, errs := n.blobs.GetMany(context.Background(), digests(list))
		for i, b := range list {
			if errs[i] != nil || !bytes.Equal(datas[i], b.Data) {
				g.t.Errorf("%s: blob %d of %d bytes: %d bytes, %v", n.id, i, len(b.Data), len(datas[i]), errs[i])
			}
			if got, err := n.read(context.Background(), b.Digest, b.Digest.Size/3); err != nil || !bytes.Equal(got, b.Data[b.Digest.Size/3:]) {
				g.t.Errorf("%s: blob %d of %d bytes as a stream: %d bytes, %v", n.id, i, len(b.Data), len(got), err)
			}
		}
	}
}

// sizes are blobs of each way that they are stored and sent.
func sizes(seed uint64) []cas.Blob {
	return []cas.Blob{blob(3, seed), blob(1000, seed), blob(700<<10, seed), blob(3<<20, seed), blob(9<<20+7, seed)}
}

func TestEachBlobHasItsCopiesBeforeItIsAcknowledged(t *testing.T) {
	g := newGrid(t, 3)
	for i, n := range g.nodes {
		list, streamed := append(sizes(uint64(i)), blobs(40, 300, uint64(i)+10)...), sizes(uint64(i)+100)
		n.put(t, list...)
		for _, b := range streamed {
			if err := n.write(t.Context(), b, 300_000); err != nil {
				t.Fatalf("%d bytes through %s: %v", len(b.Data), n.id, err)
			}
		}
		for _, b := range append(list, streamed...) {
			want := []string{g.rank(b.Digest, 0).id, g.rank(b.Digest, 1).id}
			slices.Sort(want)
			if diff := cmp.Diff(want, g.holders(b.Digest)); diff != "" {
				t.Errorf("%d bytes through %s: %s", len(b.Data), n.id, diff)
			}
		}
		g.wantEverywhere(append(list, streamed...))
	}
}

func TestALostNodeTakesNoBlobWithIt(t *testing.T) {
	g := newGrid(t, 3)
	var list []cas.Blob
	for i, n := range g.nodes {
		mine := append(sizes(uint64(i)), blobs(30, 500, uint64(i)+10)...)
		n.put(t, mine...)
		list = append(list, mine...)
	}
	g.kill(g.nodes[1])
	g.wantEverywhere(list, g.nodes[1])
	missing, err := g.nodes[0].blobs.FindMissing(t.Context(), digests(list))
	if err != nil || len(missing) > 0 {
		t.Fatalf("%d are missing, %v", len(missing), err)
	}
	for _, b := range list { // FindMissing has given each a second copy again
		if holders := slices.DeleteFunc(g.holders(b.Digest), func(id string) bool { return id == "n2" }); len(holders) != 2 {
			t.Errorf("blob of %d bytes is on %v", len(b.Data), holders)
		}
	}
}

func TestMismatchesAreToldOneByOne(t *testing.T) {
	g := newGrid(t, 3)
	for _, n := range g.nodes {
		list := blobs(30, 200, 1)
		for i := 0; i < len(list); i += 3 {
			list[i].Data = []byte("something else")
		}
		large := blob(5<<20, 2)
		large.Data = blob(5<<20, 3).Data
		list = append(list, large)
		for i, err := range n.blobs.PutMany(t.Context(), cas.Upload, list) {
			if wrong := i%3 == 0; errors.Is(err, cas.ErrMismatch) != wrong || (err != nil) != wrong {
				t.Errorf("%s: blob %d: %v", n.id, i, err)
			}
		}
		if err := n.write(t.Context(), large, 1<<20); !errors.Is(err, cas.ErrMismatch) {
			t.Errorf("%s: a stream: %v", n.id, err)
		}
		if holders := g.holders(large.Digest); len(holders) > 0 {
			t.Errorf("%v have content that is not the blob", holders)
		}
	}
}

func TestANodeAloneIsItsStore(t *testing.T) {
	g := newGrid(t, 1)
	n := g.nodes[0]
	b := blob(1000, 1)
	n.put(t, b)
	if _, err := n.blobs.Get(t.Context(), blob(10, 2).Digest); !errors.Is(err, cas.ErrNotFound) {
		t.Errorf("a blob that is not there: %v", err)
	}
	g.wantEverywhere([]cas.Blob{b})
	if s := n.blobs.Stats(); s.Asked != 0 {
		t.Errorf("a lone node asked others: %+v", s)
	}
}

func TestAReadByANodeThatLostItsCopyRestoresIt(t *testing.T) {
	g := newGrid(t, 3)
	for way, read := range map[string]func(n *node, d digest.Digest) ([]byte, error){
		"stream": func(n *node, d digest.Digest) ([]byte, error) { return n.read(t.Context(), d, 0) },
		"whole":  func(n *node, d digest.Digest) ([]byte, error) { return n.blobs.Get(t.Context(), d) },
		"into memory": func(n *node, d digest.Digest) ([]byte, error) {
			data, errs := n.blobs.GetManyInto(t.Context(), []digest.Digest{d}, func(n int) []byte { return make([]byte, n) })
			return data[0], errs[0]
		},
	} {
		for _, b := range sizes(uint64(len(way))) {
			owner := g.rank(b.Digest, 0)
			g.part(owner)
			g.rank(b.Digest, 1).put(t, b) // while an owner is away
			g.join()
			if slices.Contains(g.holders(b.Digest), owner.id) {
				t.Fatal("the owner has it already")
			}
			got, err := read(owner, b.Digest)
			if err != nil || !bytes.Equal(got, b.Data) {
				t.Fatalf("%s: read %d of %d bytes, %v", way, len(got), len(b.Data), err)
			}
			if !slices.Contains(g.holders(b.Digest), owner.id) {
				t.Errorf("%s: the owner did not keep %d bytes", way, len(b.Data))
			}
		}
	}
}

// An upload is spared only when it would change nothing: when all copies exist.
func TestPresentMeansOnAllOwners(t *testing.T) {
	g := newGrid(t, 3)
	for _, b := range sizes(1) {
		n := g.rank(b.Digest, 2)
		if ok, err := n.blobs.Present(t.Context(), b.Digest); ok || err != nil {
			t.Fatalf("a blob that nobody has: %t, %v", ok, err)
		}
		if err := errors.Join(g.rank(b.Digest, 1).store.PutMany(t.Context(), cas.Upload, []cas.Blob{b})...); err != nil {
			t.Fatal(err)
		}
		ok, err := n.blobs.Present(t.Context(), b.Digest)
		if holders := g.holders(b.Digest); !ok || err != nil || len(holders) != 2 {
			t.Errorf("%d bytes: %t and on %v, %v", len(b.Data), ok, holders, err)
		}
		if asked := n.blobs.Stats().Asked; asked == 0 {
			t.Error("nobody was asked")
		}
	}
}
