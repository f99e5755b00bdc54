package client

import (
	"errors"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

func TestOutputsComeBackInEachFormat(t *testing.T) {
	f := &fake{caps: capsWith(0)}
	c := serve(t, f, Options{})
	x := f.put([]byte("#!x")).Proto()
	child := &repb.Directory{Files: []*repb.FileNode{{Name: "x", Digest: x, IsExecutable: true}}}
	root := &repb.Directory{Directories: []*repb.DirectoryNode{{Name: "c", Digest: f.putMessage(t, child).Proto()}}}
	rootDigest := f.putMessage(t, root).Proto()
	// In the order in which a worker without canonical trees sends them.
	tree := f.putMessage(t, &repb.Tree{Root: root, Children: []*repb.Directory{child}}).Proto()
	empty := f.putMessage(t, &repb.Tree{Root: &repb.Directory{}}).Proto()
	result := &repb.ActionResult{
		OutputFiles: []*repb.OutputFile{{Path: "bin/f", Digest: x, IsExecutable: true}, {Path: "../up", Digest: x, IsExecutable: true}},
		OutputDirectories: []*repb.OutputDirectory{
			{Path: "tree", TreeDigest: tree}, {Path: "dir", RootDirectoryDigest: rootDigest}, {Path: "none", TreeDigest: empty},
		},
		OutputSymlinks:     []*repb.OutputSymlink{{Path: "l", Target: "bin/f"}},
		OutputFileSymlinks: []*repb.OutputSymlink{{Path: "l", Target: "bin/f"}},
	}
	asked := []string{"bin/f", "../up", "tree", "dir/", "none", "l", "unmade"}
	dir := t.TempDir()
	if _, err := c.DownloadOutputs(t.Context(), result, dir, "work", asked, nil); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"up": "#!x", "work/": "", "work/bin/": "", "work/bin/f": "#!x", "work/l": "-> bin/f", "work/none/": "",
		"work/tree/": "", "work/tree/c/": "", "work/tree/c/x": "#!x", "work/dir/": "", "work/dir/c/": "", "work/dir/c/x": "#!x",
	}
	if diff := cmp.Diff(want, look(t, dir)); diff != "" {
		t.Error(diff)
	}
	p := prepared(t, Job{WorkingDir: "work", Outputs: asked})
	if diff := cmp.Diff([]string{"unmade"}, p.NotMade(result)); diff != "" {
		t.Error(diff)
	}
}

func TestTheWorkingDirectoryMayBeTheOutput(t *testing.T) {
	f := &fake{caps: capsWith(0)}
	c := serve(t, f, Options{})
	x := f.put([]byte("x")).Proto()
	root := f.putMessage(t, &repb.Directory{Files: []*repb.FileNode{{Name: "x", Digest: x}}}).Proto()
	result := &repb.ActionResult{OutputDirectories: []*repb.OutputDirectory{{Path: "", RootDirectoryDigest: root}}}
	dir := t.TempDir()
	p := prepared(t, Job{Outputs: []string{"."}})
	if _, err := c.DownloadOutputs(t.Context(), result, dir, "", p.Job.Outputs, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"x": "x"}, look(t, dir)); diff != "" || len(p.NotMade(result)) > 0 {
		t.Error(diff, p.NotMade(result))
	}
}

// A result may write only what was asked for: a server must not choose paths.
func TestOutputsThatWereNotAskedForAreRefused(t *testing.T) {
	f := &fake{caps: capsWith(0)}
	c := serve(t, f, Options{})
	x := f.put([]byte("x")).Proto()
	for name, r := range map[string]*repb.ActionResult{
		"other file": {OutputFiles: []*repb.OutputFile{{Path: ".bashrc", Digest: x}}},
		"outside":    {OutputFiles: []*repb.OutputFile{{Path: "../../evil", Digest: x}}},
		"absolute":   {OutputFiles: []*repb.OutputFile{{Path: "/tmp/evil", Digest: x}}},
		"link":       {OutputSymlinks: []*repb.OutputSymlink{{Path: "a/../../b", Target: "x"}}},
		"directory":  {OutputDirectories: []*repb.OutputDirectory{{Path: "d", TreeDigest: x}}},
		"no digest":  {OutputFiles: []*repb.OutputFile{{Path: "asked"}}},
		"no tree":    {OutputDirectories: []*repb.OutputDirectory{{Path: "asked", TreeDigest: x}}},
	} {
		dir := t.TempDir()
		_, err := c.DownloadOutputs(t.Context(), r, dir, "w", []string{"asked"}, nil)
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
		if left := look(t, dir); len(left) > 0 {
			t.Errorf("%s: wrote %v", name, left)
		}
	}
}

func FuzzParseTree(f *testing.F) {
	d := &repb.Directory{Files: []*repb.FileNode{{Name: "x", Digest: digest.Of(digest.SHA256, nil).Proto()}}}
	seed, err := proto.Marshal(&repb.Tree{Root: d, Children: []*repb.Directory{d}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte{0x0a})
	f.Fuzz(func(t *testing.T, data []byte) {
		root, dirs, err := parseTree(digest.SHA256, data)
		if err != nil {
			return
		}
		if dirs[root] == nil {
			t.Fatal("the root is not in the tree")
		}
		// Whatever is planned stays within the target.
		pl := newPlan()
		if pl.addTree(".", root, dirs) != nil {
			return
		}
		for _, dir := range pl.dirs {
			if leaves(dir.path) {
				t.Errorf("directory %q leaves the target", dir.path)
			}
		}
		for _, places := range pl.files {
			for _, f := range places {
				if leaves(f.path) {
					t.Errorf("file %q leaves the target", f.path)
				}
			}
		}
	})
}
