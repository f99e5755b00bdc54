package placement

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// TestANodeThatIsCutOffForAMomentFailsNoCall makes every kind of call at a node
// that reaches no other, and lets the others be back while all of them wait.
func TestANodeThatIsCutOffForAMomentFailsNoCall(t *testing.T) {
	g := newGrid(t, 3, option{patience: time.Hour})
	n := g.nodes[2]
	small, large := blob(1000, 1), blob(5<<20, 1)
	for i := uint64(2); slices.Contains(g.holders(small.Digest), n.id) || len(g.holders(small.Digest)) == 0; i++ {
		small = blob(1000, i)
		g.nodes[0].put(t, small)
	}
	for i := uint64(2); slices.Contains(g.holders(large.Digest), n.id) || len(g.holders(large.Digest)) == 0; i++ {
		large = blob(5<<20, i)
		g.nodes[0].put(t, large)
	}
	g.part(n)
	calls := map[string]func() error{
		"a read":   func() error { _, err := n.blobs.Get(t.Context(), small.Digest); return err },
		"a stream": func() error { _, err := n.read(t.Context(), large.Digest, 0); return err },
		"a question": func() error {
			missing, err := n.blobs.FindMissing(t.Context(), []digest.Digest{blob(7, 7).Digest})
			if err == nil && len(missing) != 1 {
				err = errors.New("nothing is missing")
			}
			return err
		},
		"a small upload": func() error { return n.blobs.PutMany(t.Context(), cas.Upload, []cas.Blob{blob(10, 9)})[0] },
		"a large upload": func() error { return n.write(t.Context(), blob(5<<20, 9), 1<<20) },
	}
	type end struct {
		what string
		err  error
	}
	ended := make(chan end, len(calls))
	for what, call := range calls {
		go func() { ended <- end{what, call()} }()
	}
	select {
	case e := <-ended:
		t.Fatalf("%s did not wait: %v", e.what, e.err)
	case <-time.After(200 * time.Millisecond): // what does not wait ends in far less
	}
	g.join()
	for range calls {
		if e := <-ended; e.err != nil {
			t.Errorf("%s: %v", e.what, e.err)
		}
	}
}
