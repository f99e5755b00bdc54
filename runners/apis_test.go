package runners_test

import (
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/rpc/code"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/bubblewrap"
	"github.com/bgrid-node/bgrid-node/runners/userchroot"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

func socketAt(path string) runners.Property {
	return runners.Property{Name: "remoteApisSocketPath", Value: path}
}

// serveNothing is an APIsFunc that counts those who have a socket now.
func serveNothing(now *atomic.Int64) runners.APIsFunc {
	return func(l net.Listener) {
		now.Add(1)
		defer now.Add(-1)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}
}

// TestASocketIsWhereItWasAskedForAndLeavesNoTrace collects the whole root.
func TestASocketIsWhereItWasAskedForAndLeavesNoTrace(t *testing.T) {
	var now atomic.Int64
	b := startSandboxedWith(t, func(o *runners.WorkerOptions) { o.APIs = serveNothing(&now) })
	rootFS := b.rootFS()
	for _, c := range []struct {
		name, runner string
		root         digest.Digest
		path, look   string
		more         []runners.Property
	}{
		{"beside the input", "hosttools", noInputs, "s", "s", nil},
		{"in new directories", "hosttools", noInputs, "a/b/s", "a/b/s", nil},
		{"in the work tree of a sandbox", bubblewrap.Name, noInputs, "/a/s", "a/s", nil},
		{"in a root file system", bubblewrap.Name, rootFS, "run/grid/s", "/run/grid/s", nil},
		{"in a directory that is there", bubblewrap.Name, rootFS, "bin/s", "/bin/s", nil},
		{"in a fresh /tmp", bubblewrap.Name, rootFS, "tmp/s", "/tmp/s", nil},
		{"in a chroot", userchroot.Name, noInputs, "run/grid/s", "/run/grid/s", []runners.Property{chrootOf(rootFS)}},
		{"in a chroot's /tmp", userchroot.Name, noInputs, "tmp/s", "/tmp/s", []runners.Property{chrootOf(rootFS)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			trees := map[bool][]string{}
			for _, with := range []bool{false, true} {
				cmd := sh("true", ".")
				properties := c.more
				if with {
					cmd = sh("test -S "+c.look, ".")
					properties = append(slices.Clone(c.more), socketAt(c.path))
				}
				_, result := b.stdout(b.inRunner(c.runner, cmd, c.root, properties...))
				for _, d := range result.OutputDirectories {
					trees[with] = readTree(t, b, d.TreeDigest)
				}
			}
			if !slices.Equal(trees[false], trees[true]) {
				t.Errorf("without a socket the action leaves %.300q\nwith one %.300q", trees[false], trees[true])
			}
			if n := now.Load(); n != 0 {
				t.Errorf("%d sockets are still served", n)
			}
		})
	}
}

func TestASocketThatCannotBeIsRefused(t *testing.T) {
	var now atomic.Int64
	b := startSandboxedWith(t, func(o *runners.WorkerOptions) { o.APIs = serveNothing(&now) })
	rootFS := b.rootFS()
	input := b.message(&repb.Directory{
		Files:    []*repb.FileNode{b.file("file", "x")},
		Symlinks: []*repb.SymlinkNode{{Name: "out", Target: "/tmp"}},
	})
	for _, c := range []struct {
		runner string
		root   digest.Digest
		path   string
		want   string
	}{
		{"hosttools", input, "file", "is in the input root already"},
		{"hosttools", input, "file/s", "no socket can be made"},
		{"hosttools", input, "out/s", "no socket can be made"},
		{"hosttools", input, "../s", "leaves the input root"},
		{"hosttools", input, "/", "names the root"},
		{bubblewrap.Name, rootFS, "bin/cat", "is in the input root already"},
	} {
		l := b.inRunner(c.runner, sh("true"), c.root, socketAt(c.path))
		if s := b.run(l).Status; code.Code(s.GetCode()) != code.Code_FAILED_PRECONDITION || !strings.Contains(s.GetMessage(), c.want) {
			t.Errorf("%s in %s: %v, want %q", c.path, c.runner, s, c.want)
		}
	}
	without := start(t, nil)
	l := without.lease(sh("true"), noInputs)
	l.Properties = append(l.Properties, socketAt("s"))
	if s := without.run(l).Status; code.Code(s.GetCode()) != code.Code_FAILED_PRECONDITION {
		t.Errorf("a worker without sockets: %v", s)
	}
}

func TestAnActionWithASocketGivesItsSlotUp(t *testing.T) {
	var now atomic.Int64
	began := make(chan struct{}, 1)
	b := start(t, func(o *runners.WorkerOptions) {
		o.Slots, o.APIs = 1, func(l net.Listener) {
			began <- struct{}{}
			serveNothing(&now)(l)
		}
	})
	gate := t.TempDir() + "/gate"
	l := b.lease(sh("until test -e "+gate+"; do sleep 0.02; done"), noInputs)
	l.Properties = append(l.Properties, socketAt("s"))
	b.assign(l)
	<-began
	other := b.lease(sh(": >"+gate), noInputs)
	b.assign(other)
	first, second := b.completion(), b.completion()
	if first.Status != nil || second.Status != nil {
		t.Errorf("%v, %v", first, second)
	}
}

// TestForwardedBytesComeBack is what a worker far from the server does.
func TestForwardedBytesComeBack(t *testing.T) {
	far, near := listener(t), listener(t)
	go func() {
		c, err := far.Accept()
		if err != nil {
			return
		}
		b := make([]byte, 5)
		n, _ := c.Read(b)
		_, _ = c.Write([]byte(strings.ToUpper(string(b[:n]))))
	}()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runners.Forward(func() (net.Conn, error) { return net.Dial("unix", far.Addr().String()) })(near)
	}()
	c, err := net.Dial("unix", near.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	b := make([]byte, 5)
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(b); err != nil || string(b[:n]) != "HELLO" {
		t.Errorf("%q, %v", b[:n], err)
	}
	_ = near.Close()
	<-ended
	if _, err := c.Read(b); err == nil {
		t.Error("the connection outlives the listener")
	}
}

func listener(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}
