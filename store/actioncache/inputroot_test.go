package actioncache

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

var byHash = cmpopts.SortSlices(func(a, b digest.Digest) bool { return a.String() < b.String() })

// project is an input root with two levels, and all its blobs.
func project(b *memBlobs) (root digest.Digest, all map[string]digest.Digest) {
	all = map[string]digest.Digest{"main.c": b.file("main"), "lib.c": b.file("lib"), "lib.h": b.file("header")}
	all["include"] = b.message(dir{files: map[string]digest.Digest{"lib.h": all["lib.h"]}, links: map[string]string{"l": "/usr"}}.proto())
	all["lib"] = b.message(dir{files: map[string]digest.Digest{"lib.c": all["lib.c"], "copy": all["lib.c"]}, dirs: map[string]digest.Digest{"include": all["include"]}}.proto())
	root = b.message(dir{files: map[string]digest.Digest{"main.c": all["main.c"], "empty": digest.SHA256.Empty()},
		dirs: map[string]digest.Digest{"lib": all["lib"], "lib2": all["lib"], "nothing": digest.SHA256.Empty()}}.proto())
	all["root"] = root
	return root, all
}

func TestInputRootNamesAllThatIsMissing(t *testing.T) {
	for name, c := range map[string]struct{ lost, want []string }{
		"nothing":              {nil, nil},
		"a file":               {[]string{"main.c"}, []string{"main.c"}},
		"files at each level":  {[]string{"main.c", "lib.c", "lib.h"}, []string{"main.c", "lib.c", "lib.h"}},
		"a directory":          {[]string{"include"}, []string{"include"}},
		"what is below is not": {[]string{"lib", "lib.h", "main.c"}, []string{"lib", "main.c"}},
		"the root":             {[]string{"root", "main.c"}, []string{"root"}},
	} {
		t.Run(name, func(t *testing.T) {
			blobs := newBlobs()
			root, all := project(blobs)
			s := openStore(t, Options{Blobs: blobs})
			digests := func(names []string) (ds []digest.Digest) {
				for _, n := range names {
					ds = append(ds, all[n])
				}
				return ds
			}
			blobs.lose(false, digests(c.lost)...)
			for range 2 {
				missing, err := s.InputRoot(t.Context(), root)
				if diff := cmp.Diff(digests(c.want), missing, byHash, cmpopts.EquateEmpty()); diff != "" || err != nil {
					t.Errorf("error %v, missing (-want +got):\n%s", err, diff)
				}
			}
		})
	}
}

func TestInputRootProtectsEverything(t *testing.T) {
	blobs := newBlobs()
	root, all := project(blobs)
	s := openStore(t, Options{Blobs: blobs})
	for _, state := range []string{"cold", "in a later era"} {
		blobs.forgetTouches()
		blobs.lose(true)
		if missing, err := s.InputRoot(t.Context(), root); err != nil || len(missing) > 0 {
			t.Fatal(missing, err)
		}
		for name, d := range all {
			if blobs.touched[d] == 0 {
				t.Errorf("%s: %s is not protected", state, name)
			}
		}
	}
	blobs.forgetTouches()
	if missing, err := s.InputRoot(t.Context(), all["lib"]); err != nil || len(missing) > 0 || blobs.count() > 0 {
		t.Errorf("a part of what was found: %v, %v, %d blobs looked at", missing, err, blobs.count())
	}
}

func TestProtect(t *testing.T) {
	blobs := newBlobs()
	root, all := project(blobs)
	command := blobs.message(&repb.Command{Arguments: []string{"true"}})
	action := blobs.message(&repb.Action{CommandDigest: command.Proto(), InputRootDigest: root.Proto()})
	s := openStore(t, Options{Blobs: blobs})
	if err := s.Protect(t.Context(), action); err != nil {
		t.Fatal(err)
	}
	for _, d := range append(slices.Collect(maps.Values(all)), action, command) {
		if blobs.touched[d] == 0 {
			t.Errorf("%s is not protected", d)
		}
	}
	blobs.lose(true, all["lib.c"], command)
	if err := s.Protect(t.Context(), action); err == nil || !strings.Contains(err.Error(), "2 of its blobs") {
		t.Errorf("with two lost: %v", err)
	}
	for name, bad := range map[string]digest.Digest{
		"no Action":     blobs.file("\xff\xff"),
		"no command":    blobs.message(&repb.Action{InputRootDigest: root.Proto()}),
		"no input root": blobs.message(&repb.Action{CommandDigest: command.Proto()}),
	} {
		if err := s.Protect(t.Context(), bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMalformedDirectories(t *testing.T) {
	blobs := newBlobs()
	s := openStore(t, Options{Blobs: blobs})
	ok := blobs.file("ok").Proto()
	file := func(name string) *repb.FileNode { return &repb.FileNode{Name: name, Digest: ok} }
	link := func(name, target string) *repb.SymlinkNode { return &repb.SymlinkNode{Name: name, Target: target} }
	sub := func(name string) *repb.DirectoryNode {
		return &repb.DirectoryNode{Name: name, Digest: digest.SHA256.Empty().Proto()}
	}
	for name, c := range map[string]struct {
		d    *repb.Directory
		rule string // that the message must name
	}{
		"no name":                {&repb.Directory{Files: []*repb.FileNode{file("")}}, "must not be empty"},
		"a dot":                  {&repb.Directory{Directories: []*repb.DirectoryNode{sub(".")}}, "must not be . or .."},
		"two dots":               {&repb.Directory{Files: []*repb.FileNode{file("..")}}, "must not be . or .."},
		"a slash":                {&repb.Directory{Files: []*repb.FileNode{file("a/b")}}, "slash"},
		"an absolute directory":  {&repb.Directory{Directories: []*repb.DirectoryNode{sub("/etc")}}, "slash"},
		"NUL":                    {&repb.Directory{Symlinks: []*repb.SymlinkNode{link("a\x00", "b")}}, "NUL"},
		"too long":               {&repb.Directory{Files: []*repb.FileNode{file(strings.Repeat("a", 256))}}, "longer than 255"},
		"two files":              {&repb.Directory{Files: []*repb.FileNode{file("a"), file("b"), file("a")}}, `"a" is there twice`},
		"two side by side":       {&repb.Directory{Files: []*repb.FileNode{file("a"), file("a")}}, `"a" is there twice`},
		"a file and a directory": {&repb.Directory{Files: []*repb.FileNode{file("a")}, Directories: []*repb.DirectoryNode{sub("a")}}, "twice"},
		"a file and a symlink":   {&repb.Directory{Files: []*repb.FileNode{file("z")}, Symlinks: []*repb.SymlinkNode{link("z", "b")}}, "twice"},
		"two directories":        {&repb.Directory{Directories: []*repb.DirectoryNode{sub("b"), sub("a"), sub("b")}}, "twice"},
		"an empty target":        {&repb.Directory{Symlinks: []*repb.SymlinkNode{link("a", "")}}, "target"},
		"a target with NUL":      {&repb.Directory{Symlinks: []*repb.SymlinkNode{link("a", "b\x00")}}, "target"},
		"no digest":              {&repb.Directory{Files: []*repb.FileNode{{Name: "a"}}}, "digest is not set"},
		"a short hash":           {&repb.Directory{Files: []*repb.FileNode{{Name: "a", Digest: &repb.Digest{Hash: "ab", SizeBytes: 1}}}}, "characters"},
		"a directory of size -1": {&repb.Directory{Directories: []*repb.DirectoryNode{{Name: "a", Digest: &repb.Digest{Hash: ok.Hash, SizeBytes: -1}}}}, "negative"},
		"a huge directory": {&repb.Directory{Directories: []*repb.DirectoryNode{{Name: "a",
			Digest: &repb.Digest{Hash: ok.Hash, SizeBytes: 1 << 40}}}}, "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			root := blobs.message(dir{dirs: map[string]digest.Digest{"src": blobs.message(c.d)}}.proto())
			for range 2 { // an error must not be remembered as an answer
				_, err := s.InputRoot(t.Context(), root)
				if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.rule) || !strings.Contains(err.Error(), `directory "src`) {
					t.Errorf("got %v, want the path and %q", err, c.rule)
				}
			}
		})
	}
	if _, err := s.InputRoot(t.Context(), blobs.file("\xff\xff")); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "not a Directory") {
		t.Errorf("not a Directory: %v", err)
	}
	unsorted := blobs.message(&repb.Directory{Files: []*repb.FileNode{file("b"), file("a")}, Directories: []*repb.DirectoryNode{sub("c")}})
	if missing, err := s.InputRoot(t.Context(), unsorted); err != nil || len(missing) > 0 {
		t.Errorf("the order is not enforced, yet: %v, %v", missing, err)
	}
}

// chain stores n Directories, each in the one before, and returns the outermost.
func chain(b *memBlobs, n int) digest.Digest {
	d := digest.SHA256.Empty()
	for range n {
		d = b.message(dir{dirs: map[string]digest.Digest{"d": d}}.proto())
	}
	return d
}

func TestDepthIsBounded(t *testing.T) {
	blobs := newBlobs()
	s := openStore(t, Options{Blobs: blobs})
	if missing, err := s.InputRoot(t.Context(), chain(blobs, maxDepth)); err != nil || len(missing) > 0 {
		t.Errorf("%d deep: %v, %v", maxDepth, missing, err)
	}
	blobs.lose(true)
	_, err := s.InputRoot(t.Context(), chain(blobs, 3*maxDepth))
	if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "nested deeper") || len(err.Error()) > 300 {
		t.Errorf("%d deep: %v", 3*maxDepth, err)
	}
}

// Shared directories: 2^60 paths lead to the last one.
func TestSharedDirectoriesAreLookedAtOnce(t *testing.T) {
	blobs := newBlobs()
	d := blobs.message(dir{files: map[string]digest.Digest{"f": blobs.file("f")}}.proto())
	const levels = 60
	for range levels {
		d = blobs.message(dir{dirs: map[string]digest.Digest{"left": d, "right": d}}.proto())
	}
	s := openStore(t, Options{Blobs: blobs})
	if missing, err := s.InputRoot(t.Context(), d); err != nil || len(missing) > 0 {
		t.Fatal(missing, err)
	}
	if n := blobs.count(); n > levels+2 {
		t.Errorf("%d blobs were looked at, there are %d", n, levels+2)
	}
}

func TestTheNumberOfMissingBlobsIsBounded(t *testing.T) {
	blobs := newBlobs()
	top := dir{dirs: map[string]digest.Digest{}}
	for i := range 10 {
		d := dir{files: map[string]digest.Digest{}}
		for k := range maxMissing / 5 {
			d.files[fmt.Sprint(k)] = digest.Of(digest.SHA256, fmt.Append(nil, i, k))
		}
		top.dirs[fmt.Sprint(i)] = blobs.message(d.proto())
	}
	s := openStore(t, Options{Blobs: blobs})
	missing, err := s.InputRoot(t.Context(), blobs.message(top.proto()))
	if err != nil || len(missing) != maxMissing {
		t.Errorf("%d are named, the most is %d: %v", len(missing), maxMissing, err)
	}
}

// A tree larger than the memory for directories is still answered from memory.
func TestMemoryIsBounded(t *testing.T) {
	blobs := newBlobs()
	top := dir{dirs: map[string]digest.Digest{}}
	for i := range 500 {
		d := dir{files: map[string]digest.Digest{}}
		for k := range 20 {
			d.files[fmt.Sprint(k)] = blobs.file(fmt.Sprint(i, k))
		}
		top.dirs[fmt.Sprint(i)] = blobs.message(d.proto())
	}
	root := blobs.message(top.proto())
	const most = 300 << 10
	s := openStore(t, Options{Blobs: blobs, MemoBytes: most})
	for range 2 {
		blobs.lose(true)
		if missing, err := s.InputRoot(t.Context(), root); err != nil || len(missing) > 0 {
			t.Fatal(missing, err)
		}
		if n := s.Stats().MemoBytes; n > most || n == 0 {
			t.Errorf("%d bytes are remembered, the bound is %d", n, most)
		}
	}
	blobs.forgetTouches()
	if _, err := s.InputRoot(t.Context(), root); err != nil || blobs.count() > 0 {
		t.Errorf("asked again: %v, %d blobs looked at", err, blobs.count())
	}
}
