package cas

import (
	"bytes"
	"context"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// sealSome writes until n generations of their own are sealed behind what is in
// the store already.
func sealSome(t *testing.T, s *Store, n int) {
	t.Helper()
	sealed := func() int { st := s.Stats(); return st.Generations - st.OpenGenerations }
	from := sealed()
	for seed := uint64(1 << 50); sealed() < from+n; seed++ {
		put(t, s, testBlob(seed, 500<<10))
		synctest.Wait()
	}
}

// dropGeneration makes one generation the cleaner's victim.
func dropGeneration(t *testing.T, s *Store, id uint32) {
	t.Helper()
	s.reshape.Lock()
	defer s.reshape.Unlock()
	g := s.pin(id)
	if g == nil || !g.droppable.Load() {
		t.Fatalf("generation %d cannot be dropped", id)
	}
	g.pins.Done()
	m := newMover(s, g)
	defer m.close()
	if err := m.carry(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.settle(m); err != nil {
		t.Fatal(err)
	}
	if err := s.deleteGeneration(g); err != nil {
		t.Fatal(err)
	}
}

func placesOf(t *testing.T, s *Store, b Blob) []place {
	t.Helper()
	places, err := s.list(b.Digest)
	if err != nil {
		t.Fatal(err)
	}
	return places
}

// longBlob is in pieces that lie in several generations.
func longBlob(t *testing.T, s *Store, seed uint64) Blob {
	t.Helper()
	b := testBlob(seed, 7*mib)
	put(t, s, b)
	synctest.Wait()
	places := placesOf(t, s, b)
	if places[0].generation == places[len(places)-1].generation {
		t.Fatal("the blob lies in one generation")
	}
	return b
}

// TestABlobIsNotPresentWithoutItsPieces drops the generation that holds the
// first pieces of a large blob while the list lies elsewhere. A blob that is not
// protected is missing then, at once and after a reopen; a protected one stays.
func TestABlobIsNotPresentWithoutItsPieces(t *testing.T) {
	for _, protected := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			o := testOptions(t.TempDir())
			s := openStore(t, o)
			b := longBlob(t, s, 1)
			sealSome(t, s, 2)
			first := placesOf(t, s, b)[0].generation
			time.Sleep(2 * s.Window())
			if protected {
				mustHave(t, s, b)
			}
			dropGeneration(t, s, first)
			for range 2 {
				if protected {
					mustHave(t, s, b)
				} else {
					mustMiss(t, s, b)
				}
				closeStore(t, s)
				s = openStore(t, o)
			}
			put(t, s, b)
			mustHave(t, s, b)
		})
	}
}

// TestWhatIsUsedLateIsCarriedOver uses blobs that nobody protected while the
// cleaner works: found present, they must stay.
func TestWhatIsUsedLateIsCarriedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, testOptions(t.TempDir()))
		small, large := testBlob(1, 1000), testBlob(2, 2*mib+1)
		first := s.ring()[0].id
		put(t, s, small, large)
		sealSome(t, s, 2)
		time.Sleep(2 * s.Window())
		g := s.pin(first)
		g.pins.Done()
		m := newMover(s, g)
		defer m.close()
		if err := m.blobs(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustHave(t, s, small, large) // found: from here on a promise
		if m.unpublish() {
			t.Fatal("the generation goes although something in it is protected")
		}
		if err := m.carry(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.deleteGeneration(g); err != nil {
			t.Fatal(err)
		}
		time.Sleep(s.Window() - s.Window()/10) // the copies know of the last use
		for _, b := range []Blob{small, large} {
			h, ok := s.lookup(b.Digest, 0)
			if !ok || !s.holds(h.stamp, s.now()) {
				t.Errorf("%s is not protected within its window", b.Digest)
			}
			if ok {
				h.release()
			}
		}
		mustHave(t, s, small, large)
	})
}

func TestPiecesOfARunningUploadAreCarriedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, testOptions(t.TempDir()))
		b := testBlob(1, 4*mib)
		w, err := s.ResumeWriter(t.Context(), Upload, b.Digest, "id")
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if _, err := w.Write(b.Data[:mib]); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		first := w.up.places[0].generation
		sealSome(t, s, 2)
		dropGeneration(t, s, first)
		if _, err := w.Write(b.Data[mib:]); err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		mustHave(t, s, b)
	})
}

func TestAReaderGoesOnWhileItsBlobMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, testOptions(t.TempDir()))
		b := longBlob(t, s, 1)
		sealSome(t, s, 4)
		r, err := s.Reader(t.Context(), b.Digest, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		have, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range placesOf(t, s, b) {
			if g := s.pin(p.generation); g != nil {
				g.pins.Done()
				if g.droppable.Load() {
					dropGeneration(t, s, p.generation)
				}
			}
		}
		rest, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(append(have, rest...), b.Data) {
			t.Errorf("have %d bytes of %d: %v", len(have)+len(rest), len(b.Data), err)
		}
	})
}

// TestReadersNeverSeeEviction reads protected blobs all the time while others are
// written and evicted.
func TestReadersNeverSeeEviction(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	o.ProtectionWindow = 500 * time.Millisecond
	s := openStore(t, o)
	hot := []Blob{testBlob(1, 900), testBlob(2, 90<<10), testBlob(3, 3*mib)}
	put(t, s, hot...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var readers sync.WaitGroup
	var reads atomic.Int64
	for range 2 {
		readers.Go(func() {
			for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
				for _, b := range hot {
					data, err := s.Get(context.WithoutCancel(ctx), b.Digest)
					if err != nil || !bytes.Equal(data, b.Data) {
						t.Errorf("get %s: %v", b.Digest, err)
						return
					}
					reads.Add(1)
				}
			}
		})
	}
	eventually(t, "ten generations are dropped", func() bool {
		b := testBlob(uint64(time.Now().UnixNano()), 600<<10)
		if err := s.PutMany(ctx, Upload, []Blob{b})[0]; err != nil && !isFull(err) {
			t.Fatal(err)
		}
		return s.Stats().DroppedGenerations >= 10
	})
	cancel()
	readers.Wait()
	if reads.Load() == 0 {
		t.Error("nothing was read")
	}
}

// TestTheCheapestGenerationIsDropped holds the choice of DESIGN.md: the least
// protected bytes among the older three quarters, the oldest of equals.
func TestTheCheapestGenerationIsDropped(t *testing.T) {
	t.Parallel()
	s := openStore(t, testOptions(t.TempDir()))
	cand := func(id uint32, old bool, held int64) *candidate {
		g := &generation{id: id}
		g.disk.Store(1000)
		return &candidate{generation: g, old: old, held: held}
	}
	for _, c := range []struct {
		name    string
		cs      []*candidate // newest first
		pressed bool
		want    uint32 // 0: none
	}{
		{"least held", []*candidate{cand(3, true, 10), cand(2, true, 5), cand(1, true, 400)}, false, 2},
		{"oldest of equals", []*candidate{cand(3, true, 0), cand(2, true, 0)}, false, 2},
		{"not the young", []*candidate{cand(3, false, 0), cand(2, true, 5)}, false, 2},
		{"the young under pressure only", []*candidate{cand(3, false, 0), cand(2, true, 950)}, false, 0},
		{"the young under pressure", []*candidate{cand(3, false, 0), cand(2, true, 950)}, true, 3},
		{"dear ones wait for pressure", []*candidate{cand(2, true, 800)}, false, 0},
		{"dear ones under pressure", []*candidate{cand(2, true, 800)}, true, 2},
		{"never what is protected", []*candidate{cand(2, true, 990)}, true, 0},
	} {
		have, wait := s.choose(c.cs, c.pressed)
		switch {
		case have == nil && (c.want != 0 || wait <= 0):
			t.Errorf("%s: none, wait %s", c.name, wait)
		case have != nil && have.generation.id != c.want:
			t.Errorf("%s: have %d, want %d", c.name, have.generation.id, c.want)
		}
	}
}
