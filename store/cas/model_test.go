package cas

import (
	"bytes"
	"errors"
	"flag"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// model is what a Store must answer: blobs, and until when each is promised to
// stay.
type model struct {
	s        *Store
	o        Options
	t        *testing.T
	promised map[uint64]time.Time
}

// modelBlob gives each seed one blob: small ones, some that have a pack of their
// own, some in pieces.
func modelBlob(seed uint64) Blob {
	return testBlob(seed, []int{0, 50, 3000, 70 << 10, 400 << 10, maxWhole + 300<<10}[seed%6]+int(seed))
}

// TestTheStoreAgreesWithAMap runs random calls in a small store with the clock
// going on between them, with evictions and reopens.
func TestTheStoreAgreesWithAMap(t *testing.T) {
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue { // each opens several stores
		if err := checks.Value.Set("20"); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = checks.Value.Set(checks.DefValue) }()
	}
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			o := testOptions(t.TempDir())
			o.ProtectionWindow = time.Minute
			m := &model{o: o, t: t, s: openStore(t, o), promised: make(map[uint64]time.Time)}
			defer func() { closeStore(t, m.s) }()
			seeds := rapid.SliceOfN(rapid.Uint64Range(1, 40), 1, 8)
			for range rapid.IntRange(5, 40).Draw(rt, "calls") {
				some := seeds.Draw(rt, "seeds")
				switch rapid.SampledFrom([]string{
					"put", "put", "put", "stream", "get", "get", "find", "read", "wait", "sync", "evict", "evict", "reopen", "fill",
				}).Draw(rt, "call") {
				case "put":
					m.put(rt, some)
				case "stream":
					m.stream(rt, some[0], rapid.IntRange(1000, mib).Draw(rt, "step"))
				case "get":
					m.get(rt, some)
				case "find":
					m.find(rt, some)
				case "read":
					m.read(rt, some[0], rapid.Float64Range(0, 1).Draw(rt, "at"))
				case "wait":
					time.Sleep(time.Duration(rapid.IntRange(1, 100).Draw(rt, "seconds")) * time.Second)
				case "sync":
					m.must(rt, m.s.Sync(t.Context()))
				case "evict":
					_, err := m.s.cleanOnce(rapid.Bool().Draw(rt, "pressed"))
					m.must(rt, err)
				case "reopen":
					m.must(rt, m.s.Close())
					m.s = openStore(t, m.o)
				case "fill":
					m.put(rt, []uint64{4, 10, 16, 22, 5, 28})
				}
				synctest.Wait()
			}
		})
	})
}

func (m *model) must(rt *rapid.T, err error) {
	if err != nil {
		rt.Fatal(err)
	}
}

// promise notes that a blob was stored, found or read.
func (m *model) promise(seed uint64) { m.promised[seed] = time.Now().Add(m.o.ProtectionWindow) }

// missing checks that a blob may be missing.
func (m *model) missing(rt *rapid.T, seed uint64) {
	if until, ok := m.promised[seed]; ok && !time.Now().After(until) {
		rt.Fatalf("blob %d is missing %s before it may be", seed, time.Until(until))
	}
}

// known checks that a blob was put some time.
func (m *model) known(rt *rapid.T, seed uint64) {
	if _, ok := m.promised[seed]; !ok {
		rt.Fatalf("blob %d was never put", seed)
	}
}

func (m *model) put(rt *rapid.T, seeds []uint64) {
	var blobs []Blob
	for _, seed := range seeds {
		blobs = append(blobs, modelBlob(seed))
	}
	for i, err := range m.s.PutMany(m.t.Context(), Upload, blobs) {
		if isFull(err) {
			continue
		}
		m.must(rt, err)
		m.promise(seeds[i])
	}
}

func (m *model) stream(rt *rapid.T, seed uint64, step int) {
	if err := stream(m.t.Context(), m.s, Output, modelBlob(seed), step); !isFull(err) {
		m.must(rt, err)
		m.promise(seed)
	}
}

func (m *model) get(rt *rapid.T, seeds []uint64) {
	var names []digest.Digest
	for _, seed := range seeds {
		names = append(names, modelBlob(seed).Digest)
	}
	data, errs := m.s.GetMany(m.t.Context(), names)
	for i, seed := range seeds {
		m.answer(rt, seed, data[i], errs[i], 0)
	}
}

// answer checks content from an offset on, or the error in its place.
func (m *model) answer(rt *rapid.T, seed uint64, data []byte, err error, at int) {
	if errors.Is(err, ErrNotFound) {
		m.missing(rt, seed)
		return
	}
	m.must(rt, err)
	m.known(rt, seed)
	if !bytes.Equal(data, modelBlob(seed).Data[at:]) {
		rt.Fatalf("blob %d has another content", seed)
	}
	m.promise(seed)
}

func (m *model) find(rt *rapid.T, seeds []uint64) {
	var names []digest.Digest
	for _, seed := range seeds {
		names = append(names, modelBlob(seed).Digest)
	}
	gone, err := m.s.FindMissing(m.t.Context(), names)
	m.must(rt, err)
	for i, seed := range seeds {
		if slices.Contains(gone, names[i]) {
			m.missing(rt, seed)
		} else {
			m.known(rt, seed)
			m.promise(seed)
		}
	}
}

func (m *model) read(rt *rapid.T, seed uint64, part float64) {
	b := modelBlob(seed)
	at := int64(part * float64(b.Digest.Size))
	var have bytes.Buffer
	r, err := m.s.Reader(m.t.Context(), b.Digest, at)
	if err == nil {
		_, err = r.WriteTo(&have)
	}
	m.answer(rt, seed, have.Bytes(), err, int(at))
}
