package runners

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// planted is a tree for a test: directories by path, with their marks.
type planted struct {
	tree  *inputTree
	count int
}

func plant() *planted {
	return &planted{tree: &inputTree{root: &directory{}, dirs: map[digest.Digest]*directory{}, marked: true}}
}

// add makes a directory below another one.
func (p *planted) add(to *directory, name string, m mark) *directory {
	p.count++
	d := digest.Of(digest.SHA256, []byte(strconv.Itoa(p.count)))
	p.tree.dirs[d] = &directory{mark: m}
	to.dirs = append(to.dirs, dirNode{name: name, digest: d})
	return p.tree.dirs[d]
}

func TestOnlyTheValueTrueMarksADirectoryReadOnly(t *testing.T) {
	property := func(name, value string) *repb.NodeProperty { return &repb.NodeProperty{Name: name, Value: value} }
	for _, c := range []struct {
		properties []*repb.NodeProperty
		want       mark
	}{
		{nil, unmarked},
		{[]*repb.NodeProperty{property("Other", "true"), property("subtreereadonly", "true")}, unmarked},
		{[]*repb.NodeProperty{property("SubtreeReadOnly", "true")}, markedReadOnly},
		{[]*repb.NodeProperty{property("SubtreeReadOnly", "false")}, markedWritable},
		{[]*repb.NodeProperty{property("SubtreeReadOnly", "True")}, markedWritable}, // as in buildbox
		{[]*repb.NodeProperty{property("SubtreeReadOnly", "true"), property("SubtreeReadOnly", "false")}, markedWritable},
	} {
		dir := &repb.Directory{NodeProperties: &repb.NodeProperties{Properties: c.properties}}
		b, err := proto.Marshal(dir)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseDirectory(digest.Of(digest.SHA256, b), b)
		if err != nil || got.mark != c.want {
			t.Errorf("%v: %d, %v; want %d", c.properties, got.mark, err, c.want)
		}
	}
}

// TestTheNearestMarkDecides compares with a look at each path by itself.
func TestTheNearestMarkDecides(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := plant()
		p.tree.root.mark = mark(rapid.IntRange(0, 2).Draw(t, "root"))
		dirs := []*directory{p.tree.root}
		for i := range rapid.IntRange(0, 12).Draw(t, "directories") {
			parent := dirs[rapid.IntRange(0, len(dirs)-1).Draw(t, "parent")]
			dirs = append(dirs, p.add(parent, fmt.Sprint("d", i), mark(rapid.IntRange(0, 2).Draw(t, "mark"))))
			if len(parent.dirs) > 0 && rapid.Bool().Draw(t, "twice") {
				parent.dirs = append(parent.dirs, dirNode{name: fmt.Sprint("t", i), digest: parent.dirs[0].digest})
			}
		}
		found, err := p.tree.subtrees()
		if err != nil {
			t.Fatal(err)
		}
		states := map[string]bool{}
		for _, s := range found {
			outer, known := nearest(states, parent(s.Path))
			if s.Path != "" && known && outer == s.ReadOnly || s.Path == "" && !s.ReadOnly {
				t.Fatalf("%v changes nothing, or comes before an outer one: %v", s, found)
			}
			states[s.Path] = s.ReadOnly
		}
		var check func(dir *directory, at string, inherited bool)
		check = func(dir *directory, at string, inherited bool) {
			want := dir.mark.within(inherited)
			if got, _ := nearest(states, at); got != want {
				t.Fatalf("%q is read-only: %t, want %t; %v", at, got, want, found)
			}
			for _, sub := range dir.dirs {
				check(p.tree.dirs[sub.digest], path.Join(at, sub.name), want)
			}
		}
		check(p.tree.root, "", false)
	})
}

func parent(dir string) string {
	up, _ := splitPath(dir)
	return up
}

func nearest(states map[string]bool, dir string) (readOnly, known bool) {
	for {
		if readOnly, known = states[dir]; known || dir == "" {
			return readOnly, known
		}
		dir = parent(dir)
	}
}

func TestTheNumberOfSubtreesIsBounded(t *testing.T) {
	many := func(below mark, n int) *planted {
		p := plant()
		top := p.add(p.tree.root, "top", below)
		for i := range n {
			p.add(top, strconv.Itoa(i), markedReadOnly)
		}
		return p
	}
	if found, err := many(markedReadOnly, 100_000).tree.subtrees(); err != nil || len(found) != 1 {
		t.Errorf("100,000 marked ones below a marked one: %d, %v", len(found), err)
	}
	if found, err := many(unmarked, maxSubtrees).tree.subtrees(); err != nil || len(found) != maxSubtrees {
		t.Errorf("as many as may be: %d, %v", len(found), err)
	}
	_, err := many(unmarked, 100_000).tree.subtrees()
	var failure *Failure
	if !errors.As(err, &failure) || failure.Code != code.Code_INVALID_ARGUMENT || !strings.Contains(err.Error(), "SubtreeReadOnly") {
		t.Errorf("too many: %v", err)
	}
}

// Directories that name each other twice a level have a path for each sum of names:
// none of them is walked where there is nothing to find.
func TestSharedDirectoriesAreLookedAtOnce(t *testing.T) {
	p := plant()
	at := p.add(p.tree.root, "a", markedReadOnly)
	for range 200 {
		below := p.add(at, "x", unmarked)
		at.dirs = append(at.dirs, dirNode{name: "y", digest: at.dirs[0].digest})
		at = below
	}
	found, err := p.tree.subtrees()
	if diff := cmp.Diff([]Subtree{{Path: "a", ReadOnly: true}}, found); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func TestMergedTreesKeepTheirMarks(t *testing.T) {
	under, over := plant(), plant()
	under.count = 1000
	under.add(under.tree.root, "lib", markedReadOnly)
	under.add(under.tree.root, "var", markedReadOnly)
	over.add(over.tree.root, "lib", unmarked)
	over.add(over.tree.root, "var", markedWritable)
	over.add(over.tree.root, "src", markedReadOnly)
	found, err := merge(under.tree, over.tree).subtrees()
	want := []Subtree{{Path: "lib", ReadOnly: true}, {Path: "src", ReadOnly: true}}
	if diff := cmp.Diff(want, found); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}
