package actioncache

import (
	"context"
	"errors"
	"fmt"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// everything is a result that names blobs in each way there is, and the blobs.
func everything(b *memBlobs) (*repb.ActionResult, map[string]digest.Digest) {
	named := map[string]digest.Digest{
		"output file":      b.file("out"),
		"inlined file":     b.file("inlined"),
		"stdout":           b.file("stdout"),
		"stderr":           b.file("stderr"),
		"file in Tree":     b.file("tree/file"),
		"deep in Tree":     b.file("tree/deep/file"),
		"file in root":     b.file("root/file"),
		"deep in root":     b.file("root/deep/file"),
		"file in the both": b.file("both/file"),
	}
	deep := dir{files: map[string]digest.Digest{"deep": named["deep in Tree"]}}.proto()
	named["Tree"] = b.message(&repb.Tree{
		Root: dir{
			files: map[string]digest.Digest{"f": named["file in Tree"]},
			dirs:  map[string]digest.Digest{"d": digest.Of(digest.SHA256, marshal(deep))},
		}.proto(),
		Children: []*repb.Directory{deep},
	})
	named["deep Directory"] = b.message(dir{files: map[string]digest.Digest{"deep": named["deep in root"]}}.proto())
	named["root Directory"] = b.message(dir{
		files: map[string]digest.Digest{"f": named["file in root"]},
		dirs:  map[string]digest.Digest{"d": named["deep Directory"]},
	}.proto())
	both := dir{files: map[string]digest.Digest{"f": named["file in the both"]}}.proto()
	named["Directory beside a Tree"] = b.message(both)
	named["Tree beside a Directory"] = b.message(&repb.Tree{Root: both})
	return &repb.ActionResult{
		OutputFiles: []*repb.OutputFile{
			{Path: "out", Digest: named["output file"].Proto()},
			{Path: "inlined", Digest: named["inlined file"].Proto(), Contents: []byte("inlined")},
			{Path: "empty", Digest: digest.SHA256.Empty().Proto()},
		},
		OutputDirectories: []*repb.OutputDirectory{
			{Path: "tree", TreeDigest: named["Tree"].Proto()},
			{Path: "root", RootDirectoryDigest: named["root Directory"].Proto()},
			{Path: "both", TreeDigest: named["Tree beside a Directory"].Proto(), RootDirectoryDigest: named["Directory beside a Tree"].Proto()},
		},
		StdoutDigest: named["stdout"].Proto(),
		StderrDigest: named["stderr"].Proto(),
	}, named
}

func TestAnyMissingBlobMakesAMiss(t *testing.T) {
	blobs := newBlobs()
	r, named := everything(blobs)
	s := openStore(t, Options{Blobs: blobs})
	action := actionNamed("a")
	apply(t, s, put(action, r))
	get := func() error {
		_, err := s.Get(t.Context(), "main", action)
		return err
	}
	for what, d := range named {
		t.Run(what, func(t *testing.T) {
			content := blobs.data[d]
			if err := get(); err != nil {
				t.Fatalf("complete: %v", err)
			}
			blobs.lose(true, d)
			if err := get(); !errors.Is(err, ErrNotFound) {
				t.Errorf("warm, without it: %v", err)
			}
			cold := openStore(t, Options{Blobs: blobs})
			apply(t, cold, put(action, r))
			if _, err := cold.Get(t.Context(), "main", action); !errors.Is(err, ErrNotFound) {
				t.Errorf("cold, without it: %v", err)
			}
			blobs.put(content)
			if err := get(); err != nil {
				t.Errorf("uploaded again: %v", err)
			}
		})
	}
}

func TestAHitProtectsWhatItNames(t *testing.T) {
	blobs := newBlobs()
	r, named := everything(blobs)
	s := openStore(t, Options{Blobs: blobs})
	action := actionNamed("a")
	apply(t, s, put(action, r))
	for _, state := range []string{"cold", "in a later era"} {
		blobs.forgetTouches()
		blobs.lose(true)
		if _, err := s.Get(t.Context(), "main", action); err != nil {
			t.Fatal(err)
		}
		for what, d := range named {
			if blobs.touched[d] == 0 {
				t.Errorf("%s: %s is not protected", state, what)
			}
		}
	}
}

func TestResultsThatNobodyCanServe(t *testing.T) {
	blobs := newBlobs()
	file := blobs.file("x").Proto()
	tree := func(d *repb.Directory) *repb.OutputDirectory {
		return &repb.OutputDirectory{Path: "d", TreeDigest: blobs.message(&repb.Tree{Root: d}).Proto()}
	}
	for name, w := range map[string]Write{
		"no ActionResult":       {Result: []byte("\xff\xff")},
		"a digest that is none": {Result: marshal(&repb.ActionResult{OutputFiles: []*repb.OutputFile{{Path: "a", Digest: &repb.Digest{Hash: "zz", SizeBytes: 1}}}})},
		"a file without digest": {Result: marshal(&repb.ActionResult{OutputFiles: []*repb.OutputFile{{Path: "a"}}})},
		"a directory without":   {Result: marshal(&repb.ActionResult{OutputDirectories: []*repb.OutputDirectory{{Path: "d"}}})},
		"no Tree": {Result: marshal(&repb.ActionResult{OutputDirectories: []*repb.OutputDirectory{
			{Path: "d", TreeDigest: blobs.file("\xff\xff").Proto()}}})},
		"a Tree without a child": {Result: marshal(&repb.ActionResult{OutputDirectories: []*repb.OutputDirectory{
			tree(&repb.Directory{Directories: []*repb.DirectoryNode{{Name: "gone", Digest: file}}})}})},
		"a Tree that escapes": {Result: marshal(&repb.ActionResult{OutputDirectories: []*repb.OutputDirectory{
			tree(&repb.Directory{Files: []*repb.FileNode{{Name: "../f", Digest: file}}})}})},
		"a root that is none": {Result: marshal(&repb.ActionResult{OutputDirectories: []*repb.OutputDirectory{
			{Path: "d", RootDirectoryDigest: blobs.file("\xff\xff").Proto()}}})},
		"a result blob that is gone": {ResultBlob: digest.Of(digest.SHA256, []byte("gone"))},
	} {
		t.Run(name, func(t *testing.T) {
			var told []string
			s := openStore(t, Options{Blobs: blobs, OnDangling: func(instance string, action digest.Digest, index uint64) {
				told = append(told, fmt.Sprint(instance, " ", action, " ", index))
			}})
			w.Instance, w.Action = "main", actionNamed(name)
			index := apply(t, s, w)
			if _, err := s.Get(t.Context(), "main", w.Action); !errors.Is(err, ErrNotFound) {
				t.Errorf("got %v", err)
			}
			if want := fmt.Sprint("main ", w.Action, " ", index); len(told) != 1 || told[0] != want {
				t.Errorf("told %q, want %q", told, want)
			}
		})
	}
}

func TestInlineStandardOutputNeedsNoBlob(t *testing.T) {
	s := openStore(t, Options{})
	gone := digest.Of(digest.SHA256, []byte("gone")).Proto()
	apply(t, s, put(actionNamed("a"), &repb.ActionResult{StdoutDigest: gone, StdoutRaw: []byte("gone"), StderrDigest: gone, StderrRaw: []byte("gone")}))
	if _, err := s.Get(t.Context(), "main", actionNamed("a")); err != nil {
		t.Error(err)
	}
}

func TestATreeOfAnotherSerialisationIsTaken(t *testing.T) {
	blobs := newBlobs()
	child := dir{files: map[string]digest.Digest{"f": blobs.file("f")}, links: map[string]string{"l": "f"}}.proto()
	root := dir{dirs: map[string]digest.Digest{"c": digest.Of(digest.SHA256, marshal(child))}}.proto()
	// The child with its symlinks before its files.
	swapped := append(marshal(&repb.Directory{Symlinks: child.Symlinks}), marshal(&repb.Directory{Files: child.Files})...)
	wire := append([]byte{0x12, byte(len(swapped))}, swapped...)
	tree := blobs.put(append(marshal(&repb.Tree{Root: root}), wire...))
	s := openStore(t, Options{Blobs: blobs})
	apply(t, s, put(actionNamed("a"), &repb.ActionResult{OutputDirectories: []*repb.OutputDirectory{{Path: "d", TreeDigest: tree.Proto()}}}))
	if _, err := s.Get(t.Context(), "main", actionNamed("a")); err != nil {
		t.Error(err)
	}
}

// A storage that fails is not one that lacks something: the entry must not be
// reported, or a hiccup would empty the cache.
func TestAFailingStorageIsNoMiss(t *testing.T) {
	blobs := newBlobs()
	r, _ := everything(blobs)
	s := openStore(t, Options{Blobs: blobs, OnDangling: func(string, digest.Digest, uint64) { t.Error("told of a dangling entry") }})
	apply(t, s, put(actionNamed("a"), r))
	blobs.failed = errors.New("the disk is on fire")
	if _, err := s.Get(t.Context(), "main", actionNamed("a")); !errors.Is(err, blobs.failed) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	blobs.failed = nil
	if _, err := s.Get(ctx, "main", actionNamed("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestInstancesAndActionsAreApart(t *testing.T) {
	s := openStore(t, Options{})
	apply(t, s, put(actionNamed("a"), &repb.ActionResult{ExitCode: 1}))
	for _, k := range []key{{"", actionNamed("a")}, {"mai", actionNamed("a")}, {"main2", actionNamed("a")}, {"main", actionNamed("b")}} {
		if _, err := s.Get(t.Context(), k.instance, k.action); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v: %v", k, err)
		}
	}
	if got := s.Stats(); got.Misses != 4 || got.Entries != 1 {
		t.Errorf("%+v", got)
	}
}
