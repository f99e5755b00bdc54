package userchroot

import (
	"path"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/bgrid-node/bgrid-node/runners"
)

func TestProtection(t *testing.T) {
	for name, c := range map[string]struct {
		layers   runners.Layers
		marks    []runners.Subtree
		readOnly bool
		changes  []runners.Subtree
	}{
		"without marks the runner decides":  {runners.Layers{Writable: []string{"src", "usr/out"}}, nil, true, []runners.Subtree{{Path: "src"}, {Path: "usr/out"}}},
		"a root that takes new files":       {runners.Layers{Writable: []string{"", "usr/out", "new"}, Fixed: []string{"usr"}}, nil, false, []runners.Subtree{{Path: "usr", ReadOnly: true}, {Path: "usr/out"}}},
		"a fixed directory with an output":  {runners.Layers{Writable: []string{"", "usr"}, Fixed: []string{"usr"}}, nil, false, nil},
		"a mark within what is writable":    {runners.Layers{Writable: []string{"src"}}, []runners.Subtree{{Path: "src/dep", ReadOnly: true}, {Path: "src/dep/own"}}, true, []runners.Subtree{{Path: "src"}, {Path: "src/dep", ReadOnly: true}, {Path: "src/dep/own"}}},
		"a mark gives no right":             {runners.Layers{Writable: []string{"src"}}, []runners.Subtree{{ReadOnly: true}, {Path: "usr"}, {Path: "src/own"}}, true, []runners.Subtree{{Path: "src/own"}}},
		"a marked root that is writable":    {runners.Layers{Writable: []string{""}}, []runners.Subtree{{ReadOnly: true}, {Path: "out"}}, true, []runners.Subtree{{Path: "out"}}},
		"a name that sorts between the two": {runners.Layers{Writable: []string{"a", "a-b"}}, []runners.Subtree{{Path: "a", ReadOnly: true}, {Path: "a/b"}}, true, []runners.Subtree{{Path: "a-b"}, {Path: "a/b"}}},
	} {
		readOnly, changes := protection(&c.layers, c.marks)
		if diff := cmp.Diff(c.changes, changes); readOnly != c.readOnly || diff != "" {
			t.Errorf("%s: read-only %t, %s", name, readOnly, diff)
		}
	}
}

// TestWhatTheMountsAddUpTo plays the mounts in their order: a mount covers all that
// was at its place.
func TestWhatTheMountsAddUpTo(t *testing.T) {
	var dirs []string
	for _, a := range []string{"a", "b"} {
		for _, b := range []string{"a", "a/a", "a-", "c"} {
			dirs = append(dirs, path.Join(a, b))
		}
	}
	dirs = append(dirs, "a", "b")
	some := func(t *rapid.T, name string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(dirs), 0, 4, rapid.ID).Draw(t, name)
	}
	rapid.Check(t, func(t *rapid.T) {
		l := runners.Layers{Writable: some(t, "writable")}
		var marks []runners.Subtree
		for _, dir := range some(t, "marks") {
			marks = append(marks, runners.Subtree{Path: dir, ReadOnly: rapid.Bool().Draw(t, "read-only")})
		}
		root, changes := protection(&l, marks)
		for _, dir := range dirs {
			got := root
			for _, m := range changes {
				if beneath(dir, m.Path) {
					got = m.ReadOnly
				}
			}
			want := true
			for _, w := range l.Writable {
				want = want && !beneath(dir, w)
			}
			at, marked := "", false
			for _, m := range marks {
				if beneath(dir, m.Path) && len(m.Path) >= len(at) {
					at, marked = m.Path, m.ReadOnly
				}
			}
			if got != (want || marked) {
				t.Fatalf("%s is read-only: %t; writable %q, marks %v: %v", dir, got, l.Writable, marks, changes)
			}
		}
	})
}

func beneath(dir, top string) bool {
	return dir == top || len(dir) > len(top) && dir[:len(top)] == top && dir[len(top)] == '/'
}
