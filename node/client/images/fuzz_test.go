package images

import (
	"archive/tar"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// FuzzLayers applies members that a text describes: a line each, of a type's letter,
// a name, and after a space the target of a link. "-" begins the next layer. The
// text stands for the archives, which would be too long to be varied well.
func FuzzLayers(f *testing.F) {
	f.Add("fa/b\nll a\n-\nfl/c\nhh l/c\nfa/.wh.b")
	f.Add("dd\nfd/a\nld/up ../../d\n-\nfd/.wh..wh..opq\nfd/up/x\nc d\nf../x")
	f.Add("lx /y\nly x\nfx/z\n-\nhx y\nd.\nf/.wh.x")
	types := map[byte]byte{'f': tar.TypeReg, 'd': tar.TypeDir, 'l': tar.TypeSymlink, 'h': tar.TypeLink, 'c': tar.TypeChar}
	f.Fuzz(func(t *testing.T, text string) {
		layers, entries := []*layer{{}}, [][]entry{nil}
		for index, line := range strings.Split(text, "\n") {
			if line == "-" {
				layers, entries = append(layers, &layer{}), append(entries, nil)
				continue
			}
			if line == "" || types[line[0]] == 0 {
				continue
			}
			name, target, _ := strings.Cut(line[1:], " ")
			e, keep, err := parseHeader(&tar.Header{Typeflag: types[line[0]], Name: name, Linkname: target, Mode: 0o644})
			if err != nil || !keep {
				continue
			}
			e.index = index
			entries[len(entries)-1] = append(entries[len(entries)-1], e)
		}
		tree, err := merge(layers, entries)
		if err != nil {
			return
		}
		p, err := tree.plan()
		if err != nil {
			return
		}
		checkPlan(t, p)
		if _, _, err := fold(digest.SHA256, tree.root, nil); err != nil {
			t.Error(err)
		}
	})
}

// checkPlan checks what Build relies on: parents come first, every path lies in the
// root, and none is taken twice.
func checkPlan(t *testing.T, p *plan) {
	t.Helper()
	dirs, taken := map[string]bool{}, map[string]bool{}
	check := func(path string) {
		if !filepath.IsLocal(path) || filepath.Clean(path) != path || taken[path] {
			t.Errorf("the plan has %q, or has it twice", path)
		}
		taken[path] = true
		if path != "." && !dirs[filepath.Dir(path)] {
			t.Errorf("%q comes before its parent", path)
		}
	}
	for _, d := range p.dirs {
		check(d.path)
		dirs[d.path] = true
	}
	for _, l := range p.files {
		for _, f := range l {
			for _, path := range f.paths {
				check(path)
			}
		}
	}
	for _, l := range p.links {
		check(l.path)
	}
}

// FuzzManifests opens an image whose documents are arbitrary.
func FuzzManifests(f *testing.F) {
	const sum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	f.Add(`[{"Config":"c","RepoTags":["a:b"],"Layers":["l"]}]`, `{"rootfs":{"diff_ids":["sha256:`+sum+`"]}}`, "a:b")
	f.Add(`[{"Config":"../c","Layers":["/l"]}]`, `{"os":"linux","architecture":"amd64"}`, "")
	f.Add(`{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:`+sum+`"}]}`, "", "v1")
	f.Fuzz(func(t *testing.T, document, config, tag string) {
		for _, name := range []string{"manifest.json", "index.json"} {
			files := fstest.MapFS{
				name:                  {Data: []byte(document)},
				"c":                   {Data: []byte(config)},
				"l":                   {},
				"blobs/sha256/" + sum: {},
			}
			o := &opening{}
			o.Platform, _ = ParsePlatform("")
			im, err := o.openFiles(t.Context(), "fuzz", files, tag)
			if err == nil && len(im.layers) > maxLayers {
				t.Errorf("%d layers", len(im.layers))
			}
		}
	})
}
