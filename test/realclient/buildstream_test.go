package realclient

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/test/bazel"
	"github.com/bgrid-node/bgrid-node/test/buildstream"
	"github.com/bgrid-node/bgrid-node/test/harness"
)

// wantArtifacts is what the elements of the project make.
var wantArtifacts = map[string]map[string]string{
	"hello.bst": {
		"usr": "/", "usr/share": "/", "usr/share/hello": "/", "usr/share/hello/empty": "/",
		"usr/share/hello/greeting.txt": "hello source\n", "usr/share/hello/link": "-> greeting.txt",
	},
	"app.bst":   {"usr": "/", "usr/bin": "/", "usr/bin/app": "HELLO SOURCE\n"},
	"whole.bst": {"copy": "hello source\n"},
	"user.bst":  {"id": "uid=1000 gid=100\n"},
	// Made by an action of an action: see nested.bst.
	"nested.bst": {"made": "by the same grid\n"},
	// Its build tries in vain to change what its dependencies brought.
	"kept.bst": {"kept": "hello source\n"},
}

// TestBuildStream builds a project with BuildStream 2 while Bazel builds on the
// same node: each element is built there once, in the tree that is its root file
// system, and a second client with empty caches gets all from the node.
func TestBuildStream(t *testing.T) {
	n := harness.Start(t)
	node, err := harness.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p, err := buildstream.New(t.TempDir(), "../..", node)
	if err != nil {
		t.Fatal(err)
	}
	bazelDone := alongside(t, n)
	first := bstClient(t, p, n, "first")
	if out, err := first.Run(t.Context(), "build", "all.bst"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	<-bazelDone
	operations := bstOperations(t, n.Dial(t))
	if len(operations) != len(wantArtifacts) {
		t.Errorf("%d executions, want one for each of %d elements: %v", len(operations), len(wantArtifacts), operations)
	}
	second := bstClient(t, p, n, "second")
	if out, err := second.Run(t.Context(), "build", "all.bst"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if diff := cmp.Diff(operations, bstOperations(t, n.Dial(t))); diff != "" {
		t.Errorf("the second client's build was executed: %s", diff)
	}
	for element, want := range wantArtifacts {
		have, err := second.Checkout(t.Context(), element)
		if diff := cmp.Diff(want, have); err != nil || diff != "" {
			t.Errorf("%s: %v %s", element, err, diff)
		}
	}
	out, err := second.Run(t.Context(), "build", "fail.bst")
	if err == nil || !strings.Contains(out, "this element fails") {
		t.Errorf("the failing element: %v\n%s", err, out)
	}
}

// TestBuildStreamWorkspace builds an element twice in a workspace: the second build
// goes on in what the first one left, whose times the node gave along.
func TestBuildStreamWorkspace(t *testing.T) {
	n := harness.Start(t)
	node, err := harness.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p, err := buildstream.New(t.TempDir(), "../..", node)
	if err != nil {
		t.Fatal(err)
	}
	c, space := bstClient(t, p, n, "first"), filepath.Join(t.TempDir(), "workspace")
	for _, args := range [][]string{{"workspace", "open", "--directory", space, "work.bst"}, {"build", "work.bst"}} {
		if out, err := c.Run(t.Context(), args...); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	if err := os.WriteFile(filepath.Join(space, "greeting.txt"), []byte("changed source\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := c.Run(t.Context(), "build", "work.bst"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	have, err := c.Checkout(t.Context(), "work.bst")
	want := map[string]string{"built": "hello source\n", "when": "1000000000\n"}
	if diff := cmp.Diff(want, have); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func bstClient(t *testing.T, p *buildstream.Project, n *harness.Node, name string) *buildstream.Client {
	t.Helper()
	c, err := p.Client(name, n.GRPC, harness.Instance)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// alongside builds a workspace with Bazel; what is returned is closed at its end.
func alongside(t *testing.T, n *harness.Node) <-chan struct{} {
	t.Helper()
	w, err := bazel.New(filepath.Join(t.TempDir(), "bazel"), n.GRPC, harness.Instance, 4, 2)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		<-done
		if err := w.Remove(); err != nil {
			t.Error(err)
		}
	})
	go func() {
		defer close(done)
		r, err := w.Run(t.Context(), "test", "//...")
		if err != nil || r.ExitCode != 0 || !r.Processes.AllBy(bazel.Remote) {
			t.Errorf("Bazel at the same time: %v, exit code %d, %v\n%s", err, r.ExitCode, r.Processes, r.Output)
		}
	}()
	return done
}

// bstOperations returns the names of the executions that are neither Bazel's nor
// those of an element's build.
func bstOperations(t *testing.T, c *client.Client) (names []string) {
	t.Helper()
	err := c.ListOperations(t.Context(), "stage=COMPLETED & tool_name!=bazel & tool_name!=bgrid-node", func(op *client.Operation) bool {
		if op.Response.GetCachedResult() {
			return true
		}
		names = append(names, op.Name)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
