package runners_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/google/go-cmp/cmp"

	"github.com/bgrid-node/bgrid-node/runners/runnertest"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// listing prints the input root: path, type, mode, size or target, mtime of what
// was given one.
const listing = `find . -mindepth 1 ! -type l -printf '%P %y %m %T@\n' -o -type l -printf '%P %y %l %T@\n' | sort`

func mtime(sec int64, nanos int32) *timestamppb.Timestamp {
	return &timestamppb.Timestamp{Seconds: sec, Nanos: nanos}
}

func TestInputsAreLaidOutAsTheClientSaysSo(t *testing.T) {
	b := start(t, nil)
	exec := b.file("tool", "#!/bin/sh\n")
	exec.IsExecutable = true
	dated := b.file("dated", "d")
	dated.NodeProperties = &repb.NodeProperties{Mtime: mtime(1_000_000_000, 123_000_000), UnixMode: wrapperspb.UInt32(0o640)}
	setuid := b.file("setuid", "s")
	setuid.NodeProperties = &repb.NodeProperties{UnixMode: wrapperspb.UInt32(0o4755)}
	large := b.file("large", strings.Repeat("L", 2<<20))
	large.NodeProperties = &repb.NodeProperties{Mtime: mtime(7, 0)}
	sub := b.message(&repb.Directory{
		Files:          []*repb.FileNode{b.file("plain", "p"), large},
		Directories:    []*repb.DirectoryNode{{Name: "empty", Digest: noInputs.Proto()}},
		NodeProperties: &repb.NodeProperties{Mtime: mtime(500, 0), UnixMode: wrapperspb.UInt32(0o555)},
	})
	root := b.message(&repb.Directory{
		Files:       []*repb.FileNode{dated, b.file("nothing", ""), setuid, exec},
		Directories: []*repb.DirectoryNode{{Name: "again", Digest: sub.Proto()}, {Name: "sub", Digest: sub.Proto()}},
		Symlinks: []*repb.SymlinkNode{
			{Name: "absolute", Target: "/etc/hostname"}, {Name: "dangling", Target: "no/where"},
			{Name: "link", Target: "sub/plain", NodeProperties: &repb.NodeProperties{Mtime: mtime(42, 0)}},
		},
	})
	now := time.Now().Unix()
	r := b.result(sh(listing), root)
	var got []string
	for line := range strings.Lines(b.text(r.StdoutDigest)) {
		words := strings.Fields(line)
		var sec float64
		if _, err := fmt.Sscan(words[3], &sec); err != nil {
			t.Fatal(err)
		}
		if int64(sec) >= now-1 {
			words[3] = "now"
		}
		words[3] = strings.TrimRight(strings.TrimRight(words[3], "0"), ".")
		got = append(got, strings.Join(words, " "))
	}
	want := []string{
		"absolute l /etc/hostname now", "again d 555 500", "again/empty d 755 now", "again/large f 644 7", "again/plain f 644 now",
		"dangling l no/where now", "dated f 640 1000000000.123", "link l sub/plain 42", "nothing f 644 now", "setuid f 755 now",
		"sub d 555 500", "sub/empty d 755 now", "sub/large f 644 7", "sub/plain f 644 now", "tool f 755 now",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := b.text(b.result(sh("cat dated sub/plain again/plain link nothing; cmp sub/large again/large && head -c 3 sub/large"), root).StdoutDigest); got != "dpppLLL" {
		t.Errorf("their contents: %q", got)
	}
}

func TestParentsOfOutputsAndTheWorkingDirectoryAreMade(t *testing.T) {
	b := start(t, nil)
	sub := b.message(&repb.Directory{})
	root := b.message(&repb.Directory{
		Directories: []*repb.DirectoryNode{{Name: "have", Digest: sub.Proto()}},
		Symlinks:    []*repb.SymlinkNode{{Name: "link", Target: "have"}},
	})
	cmd := sh("cd ..; find . -mindepth 1 | sort", "a/b/file", "../x/y", "../have/new/f", "../link/through/f", "here")
	cmd.WorkingDirectory = "work"
	want := "./have\n./have/new\n./have/through\n./link\n./work\n./work/a\n./work/a/b\n./x\n"
	if got := b.text(b.result(cmd, root).StdoutDigest); got != want {
		t.Errorf("made: %s", cmp.Diff(want, got))
	}
}

func TestTheWorkingDirectoryMayBeALinkWithinTheInputRoot(t *testing.T) {
	b := start(t, nil)
	sub := b.message(&repb.Directory{Files: []*repb.FileNode{b.file("f", "found")}})
	root := b.message(&repb.Directory{
		Directories: []*repb.DirectoryNode{{Name: "d", Digest: sub.Proto()}},
		Symlinks:    []*repb.SymlinkNode{{Name: "w", Target: "d"}},
	})
	cmd := sh("cat f; echo out >o", "o")
	cmd.WorkingDirectory = "w"
	if r := b.result(cmd, root); b.text(r.StdoutDigest) != "found" || len(r.OutputFiles) != 1 || r.OutputFiles[0].Path != "o" {
		t.Errorf("%v", r)
	}
}

// TestBadActionsAreRefused lays out what must never be laid out.
func TestBadActionsAreRefused(t *testing.T) {
	b := start(t, nil)
	outside := t.TempDir()
	dir := func(d *repb.Directory) digest.Digest { return b.message(d) }
	file := func(name string) *repb.Directory { return &repb.Directory{Files: []*repb.FileNode{b.file(name, "x")}} }
	link := func(name, target string) digest.Digest {
		return dir(&repb.Directory{Symlinks: []*repb.SymlinkNode{{Name: name, Target: target}}})
	}
	good := sh("exit 0")
	with := func(change func(*repb.Command)) *repb.Command {
		c := sh("exit 0")
		change(c)
		return c
	}
	const invalid, unfit = code.Code_INVALID_ARGUMENT, code.Code_FAILED_PRECONDITION
	for name, c := range map[string]struct {
		cmd  *repb.Command
		root digest.Digest
		code code.Code
		text string // must be in the message
	}{
		"a file named ..":               {good, dir(file("..")), invalid, `".."`},
		"a file named .":                {good, dir(file(".")), invalid, `"."`},
		"a file with a path":            {good, dir(file("../../etc/x")), invalid, "slash"},
		"a file without a name":         {good, dir(file("")), invalid, "no name"},
		"a file with a zero byte":       {good, dir(file("a\x00b")), invalid, "zero byte"},
		"a name that is too long":       {good, dir(file(strings.Repeat("n", 256))), invalid, "longer than 255"},
		"a directory named ..":          {good, dir(&repb.Directory{Directories: []*repb.DirectoryNode{{Name: "..", Digest: noInputs.Proto()}}}), invalid, `".."`},
		"a link named a/b":              {good, link("a/b", "c"), invalid, "slash"},
		"a link to nothing":             {good, link("a", ""), invalid, "empty"},
		"one name twice":                {good, dir(&repb.Directory{Files: []*repb.FileNode{b.file("a", "x")}, Symlinks: []*repb.SymlinkNode{{Name: "a", Target: outside}}}), invalid, "twice"},
		"a file without a digest":       {good, dir(&repb.Directory{Files: []*repb.FileNode{{Name: "a"}}}), invalid, `file "a"`},
		"an input root of garbage":      {good, b.blobs.put([]byte("garbage")), invalid, "not a Directory"},
		"no arguments":                  {with(func(c *repb.Command) { c.Arguments = nil }), noInputs, invalid, "command.arguments"},
		"a zero byte in an argument":    {with(func(c *repb.Command) { c.Arguments[1] = "a\x00" }), noInputs, invalid, "command.arguments[1]"},
		"a variable with =":             {with(func(c *repb.Command) { c.EnvironmentVariables[0].Name = "A=B" }), noInputs, invalid, "environment_variables[0]"},
		"an absolute output":            {with(func(c *repb.Command) { c.OutputPaths = []string{"a", "/etc/passwd"} }), noInputs, invalid, "output_paths[1]"},
		"an output outside":             {with(func(c *repb.Command) { c.OutputPaths = []string{"a/../../b"} }), noInputs, invalid, "leaves the input root"},
		"an old output outside":         {with(func(c *repb.Command) { c.OutputFiles = []string{".."} }), noInputs, invalid, "output_files[0]"},
		"an old directory outside":      {with(func(c *repb.Command) { c.OutputDirectories = []string{"../x"} }), noInputs, invalid, "output_directories[0]"},
		"a working directory outside":   {with(func(c *repb.Command) { c.WorkingDirectory = "a/../.." }), noInputs, invalid, "command.working_directory"},
		"an absolute working directory": {with(func(c *repb.Command) { c.WorkingDirectory = outside }), noInputs, invalid, "command.working_directory"},
		"an unknown property":           {with(func(c *repb.Command) { c.OutputNodeProperties = []string{"mtime", "colour"} }), noInputs, invalid, `"colour"`},
		"a working directory by a link": {with(func(c *repb.Command) { c.WorkingDirectory = "w" }), link("w", outside), unfit, "symlink"},
		"one below such a link":         {with(func(c *repb.Command) { c.WorkingDirectory = "w/d" }), link("w", outside), unfit, "symlink"},
		"an output by a link":           {with(func(c *repb.Command) { c.OutputPaths = []string{"w/new/out"} }), link("w", "../.."), unfit, "symlink"},
		"an output below a file":        {with(func(c *repb.Command) { c.OutputPaths = []string{"f/out"} }), dir(file("f")), unfit, "is a file"},
	} {
		got := b.run(b.lease(c.cmd, c.root))
		if code.Code(got.Status.GetCode()) != c.code || !strings.Contains(got.Status.GetMessage(), c.text) || got.Result != nil {
			t.Errorf("%s: %v", name, got.Status)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) != 0 {
		t.Errorf("outside of the input root there is now %v, %v", left, err)
	}
}

func TestMissingInputsAreAllNamed(t *testing.T) {
	b := start(t, nil)
	violations := func(l []digest.Digest, root digest.Digest, cmd *repb.Command) {
		t.Helper()
		lease := b.lease(cmd, root)
		for _, d := range l {
			b.blobs.drop(d)
		}
		c := b.run(lease)
		if code.Code(c.Status.GetCode()) != code.Code_FAILED_PRECONDITION || len(c.Status.Details) != 1 {
			t.Fatalf("status: %v", c.Status)
		}
		var failure errdetails.PreconditionFailure
		if err := c.Status.Details[0].UnmarshalTo(&failure); err != nil {
			t.Fatal(err)
		}
		var want, got []string
		for _, d := range l {
			want = append(want, fmt.Sprintf("MISSING blobs/%s/%d", d.Hex(), d.Size))
		}
		for _, v := range failure.Violations {
			got = append(got, v.Type+" "+v.Subject)
		}
		if diff := cmp.Diff(want, got, cmp.Transformer("sort", func(s []string) map[string]bool {
			set := map[string]bool{}
			for _, v := range s {
				set[v] = true
			}
			return set
		})); diff != "" || len(want) != len(got) {
			t.Errorf("violations: %s", diff)
		}
	}
	blob := func(i int) digest.Digest { return b.blobs.put(fmt.Appendf(nil, "content %d", i)) }
	large := b.blobs.put(make([]byte, 2<<20))
	files := []*repb.FileNode{{Name: "large", Digest: large.Proto()}}
	lost := []digest.Digest{large}
	for i := range 600 { // more than fit into one batch
		d := blob(i)
		files = append(files, &repb.FileNode{Name: fmt.Sprint("f", i), Digest: d.Proto()})
		if i%100 == 0 {
			lost = append(lost, d)
		}
	}
	violations(lost, b.message(&repb.Directory{Files: files}), sh("exit 0"))

	sub1, sub2 := b.message(&repb.Directory{Files: files[:2]}), b.message(&repb.Directory{Files: files[1:3]})
	root := b.message(&repb.Directory{Directories: []*repb.DirectoryNode{{Name: "a", Digest: sub1.Proto()}, {Name: "b", Digest: sub2.Proto()}}})
	violations([]digest.Digest{sub1, sub2}, root, sh("exit 0"))
	cmd := sh("exit 42")
	unknown := b.message(&repb.Directory{Files: files[5:7]})
	violations([]digest.Digest{unknown, b.message(cmd)}, unknown, cmd)
}

// TestWorkOfOrdinaryUsers repeats what depends on rights.
func TestWorkOfOrdinaryUsers(t *testing.T) {
	if runnertest.AsOrdinaryUser(t) {
		return
	}
	t.Run("inputs", TestInputsAreLaidOutAsTheClientSaysSo)
	t.Run("outputs", TestWhatTheOwnerMayNotReadIsCollected)
	t.Run("cleaning", TestNothingIsLeftOfAnyInputRoot)
	t.Run("streams", TestWhatAnActionDoesToItsStreamsHurtsNobody)
	t.Run("cache", TestNoActionCorruptsTheCache)
}
