package runners

import (
	"errors"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"pgregory.net/rapid"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

var empty = digest.SHA256.Empty()

func FuzzDirectory(f *testing.F) {
	props := &repb.NodeProperties{
		Mtime: &timestamppb.Timestamp{Seconds: 1}, UnixMode: wrapperspb.UInt32(0o644),
		Properties: []*repb.NodeProperty{{Name: readOnlyProperty, Value: "true"}},
	}
	for _, d := range []*repb.Directory{
		{},
		{Files: []*repb.FileNode{{Name: "a", Digest: empty.Proto(), IsExecutable: true, NodeProperties: props}}, NodeProperties: props},
		{Directories: []*repb.DirectoryNode{{Name: "..", Digest: empty.Proto()}}, Symlinks: []*repb.SymlinkNode{{Name: "l", Target: "../x"}}},
	} {
		b, err := proto.Marshal(d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		dir, err := parseDirectory(digest.Of(digest.SHA256, b), b)
		var failure *Failure
		if err != nil {
			if !errors.As(err, &failure) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("an error that is not the client's, or not one line: %q", err)
			}
			return
		}
		names := map[string]bool{}
		use := func(name string) {
			if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || len(name) > maxName || names[name] {
				t.Fatalf("the name %q was accepted", name)
			}
			names[name] = true
		}
		for _, e := range dir.files {
			use(e.name)
		}
		for _, e := range dir.dirs {
			use(e.name)
		}
		for _, e := range dir.links {
			use(e.name)
		}
	})
}

func FuzzCommand(f *testing.F) {
	for _, c := range []*repb.Command{
		{},
		{Arguments: []string{"a", "b"}, WorkingDirectory: "a/../b", OutputPaths: []string{"x", "../y", "."}, OutputNodeProperties: []string{"mtime"}},
		{Arguments: []string{"a"}, OutputFiles: []string{"../.."}, EnvironmentVariables: []*repb.Command_EnvironmentVariable{{Name: "A", Value: "b"}}},
	} {
		b, err := proto.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCommand(digest.Of(digest.SHA256, b), b)
		var failure *Failure
		if err != nil {
			if !errors.As(err, &failure) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("an error that is not the client's, or not one line: %q", err)
			}
			return
		}
		if len(c.args) == 0 || strings.Contains(strings.Join(append(c.args, c.env...), ""), "\x00") {
			t.Fatalf("accepted: %+v", c)
		}
		wantBeneath(t, c.workingDir)
		for _, o := range c.outputs {
			wantBeneath(t, o.path)
		}
	})
}

// wantBeneath says what a path that was accepted may be.
func wantBeneath(t interface{ Fatalf(string, ...any) }, p string) {
	if p == "" {
		return
	}
	for name := range strings.SplitSeq(p, "/") {
		if name == "" || name == "." || name == ".." || len(name) > maxName {
			t.Fatalf("the path %q was accepted", p)
		}
	}
}

func TestPathsStayBeneathTheRoot(t *testing.T) {
	component := rapid.SampledFrom([]string{"", ".", "..", "a", "b c", "...", "..a", strings.Repeat("x", 256)})
	rapid.Check(t, func(t *rapid.T) {
		join := func(label string) string { return strings.Join(rapid.SliceOfN(component, 0, 6).Draw(t, label), "/") }
		base, err := cleanPath("", join("base"))
		if err != nil {
			base = ""
		}
		clean, err := cleanPath(base, join("path"))
		if err != nil {
			return
		}
		wantBeneath(t, clean)
		if again, err := cleanPath("", clean); err != nil || again != clean {
			t.Fatalf("%q is not clean: %q, %v", clean, again, err)
		}
	})
}

func TestCleanPathsByExample(t *testing.T) {
	for _, c := range []struct {
		base, path, want string
		ok               bool
	}{
		{"", "", "", true}, {"", ".", "", true}, {"w", "..", "", true}, {"w", "../x", "x", true}, {"", "a//b/./c/..", "a/b", true},
		{"", "..", "", false}, {"w", "../..", "", false}, {"", "/", "", false}, {"w", "/w/x", "", false}, {"", "a\x00", "", false},
		{"", strings.Repeat("a/", maxPath), "", false}, {"", strings.Repeat("a", 256), "", false},
	} {
		if got, err := cleanPath(c.base, c.path); got != c.want || (err == nil) != c.ok {
			t.Errorf("%q in %q: %q, %v", short(c.path), c.base, got, err)
		}
	}
}

func TestUmaskIsReadFromStatus(t *testing.T) {
	for text, want := range map[string]uint32{"Name:\tx\nUmask:\t0027\nState:\tR\n": 0o27, "Umask:\t0000\n": 0, "Name:\tx\n": 0o777} {
		if got, err := umaskIn([]byte(text)); got != want || err != nil {
			t.Errorf("%q: %o, %v", text, got, err)
		}
	}
	if _, err := umaskIn([]byte("Umask:\tx\n")); err == nil {
		t.Error("a umask of x was read")
	}
}
