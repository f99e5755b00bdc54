package images

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestHostileLayersAreRefused checks that nothing is left of them, and that nothing
// beside the target is touched.
func TestHostileLayersAreRefused(t *testing.T) {
	long := strings.Repeat("d/", 2100)
	loop := []tar.Header{link("a", "b"), link("b", "a"), file("a/x", "1")}
	for _, c := range []struct {
		name    string
		members []tar.Header
		want    string
	}{
		{"climbs", []tar.Header{file("../canary", "evil")}, `"../canary" climbs`},
		{"climbs inside", []tar.Header{file("a/../../canary", "evil")}, "climbs"},
		{"climbs and comes back", []tar.Header{file("a/../b", "evil")}, "climbs"},
		{"absolute and climbs", []tar.Header{file("/../canary", "evil")}, "climbs"},
		{"hard link out", []tar.Header{hard("a", "../canary")}, "climbs"},
		{"hard link to the host", []tar.Header{hard("a", "/etc/passwd")}, `leads to "etc/passwd", which is not in the image`},
		{"hard link through a link out", []tar.Header{link("up", ".."), hard("a", "up/canary")}, "not in the image"},
		{"hard link to a directory", []tar.Header{dir("d", 0o755), hard("a", "d")}, "leads to the directory"},
		{"whiteout of ..", []tar.Header{file(".wh...", "")}, `hides the name ".."`},
		{"whiteout of .", []tar.Header{file("d/.wh..", "")}, `hides the name "."`},
		{"whiteout of nothing", []tar.Header{file("d/.wh.", "")}, `hides the name ""`},
		{"file as root", []tar.Header{link(".", "/etc")}, "root is no directory"},
		{"through a file", []tar.Header{file("a", "1"), file("a/b", "1")}, "no directory"},
		{"endless links", loop, "symbolic links on its path"},
		{"long path", []tar.Header{file(long+"x", "1")}, "longer than 4000 bytes"},
		{"long path by links", []tar.Header{file(long[:3000]+"x", ""), link("l", long[:2998]), file("l/"+long[:3000]+"y", "")}, "longer than 4000|directories deep"},
		{"long name", []tar.Header{file(strings.Repeat("x", 256), "1")}, "longer than 255"},
		{"empty link", []tar.Header{link("a", "")}, `leads to ""`},
	} {
		t.Run(c.name, func(t *testing.T) {
			parent := t.TempDir()
			canary, target := filepath.Join(parent, "canary"), filepath.Join(parent, "root")
			must(t, os.WriteFile(canary, []byte("alive"), 0o600))
			im := open(t, layoutOf(t, imageOf(t, layerOf(t, file("fine", "1")), layerOf(t, c.members...))), Options{})
			_, err := im.Build(t.Context(), target)
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("have %v, want ErrMalformed", err)
			}
			if !containsAny(err.Error(), strings.Split(c.want, "|")) || !strings.HasPrefix(err.Error(), "layer 2 of 2 ") && !strings.Contains(c.want, "|") {
				t.Errorf("have %q, want the layer and %q", err, c.want)
			}
			if data, err := os.ReadFile(canary); err != nil || string(data) != "alive" {
				t.Errorf("beside the target: %q, %v", data, err)
			}
			if entries, _ := os.ReadDir(target); len(entries) > 0 {
				t.Errorf("left behind: %v", entries)
			}
		})
	}
}

func containsAny(text string, parts []string) bool {
	for _, p := range parts {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}

// TestLinksOutAreNeverFollowedOnTheHost lets a layer write through links that lead
// out, each into its own root.
func TestLinksOutAreNeverFollowedOnTheHost(t *testing.T) {
	outside := t.TempDir()
	im := open(t, layoutOf(t, imageOf(t,
		layerOf(t, link("abs", outside), link("rel", strings.Repeat("../", 30)+outside[1:])),
		layerOf(t, file("abs/a", "evil"), file("rel/b", "evil"), file("abs/.wh.c", "")))), Options{})
	must(t, os.WriteFile(filepath.Join(outside, "c"), nil, 0o600))
	at, _, _ := build(t, im)
	if entries, _ := os.ReadDir(outside); len(entries) != 1 {
		t.Errorf("outside of the target: %v", entries)
	}
	for _, name := range []string{"a", "b"} {
		if _, err := os.Lstat(filepath.Join(at, outside, name)); err != nil {
			t.Error(err)
		}
	}
}

// TestLinksPutIntoTheTargetAreNotFollowed races nobody: it lays out a plan where the
// target has a link that the plan knows nothing of.
func TestLinksPutIntoTheTargetAreNotFollowed(t *testing.T) {
	outside, target := t.TempDir(), t.TempDir()
	must(t, os.Symlink(outside, filepath.Join(target, "d")))
	root, err := os.OpenRoot(target)
	must(t, err)
	defer root.Close() //nolint:errcheck // a test's
	w := &writer{root: root, buffer: make([]byte, 10)}
	if err := w.write(&plannedFile{&content{size: 1}, []string{"d/f"}}, strings.NewReader("x")); err == nil {
		t.Error("the link was followed")
	}
	if entries, _ := os.ReadDir(outside); len(entries) != 0 {
		t.Errorf("outside of the target: %v", entries)
	}
}

func TestChangedContentIsFound(t *testing.T) {
	t.Run("in a layout", func(t *testing.T) {
		at := layoutOf(t, imageOf(t, layerOf(t, file("a", "1"))))
		damage(t, blobOf(t, at, 0x1f), 10)
		refused(t, at, "unpack it: ")
	})
	t.Run("another layer in its place", func(t *testing.T) {
		at, other := layoutOf(t, imageOf(t, layerOf(t, file("a", "1")))), layoutOf(t, imageOf(t, layerOf(t, file("a", "2"))))
		must(t, os.Rename(blobOf(t, other, 0x1f), blobOf(t, at, 0x1f)))
		refused(t, at, "as the image says")
	})
	t.Run("in an archive", func(t *testing.T) {
		at := dockerArchive(t, imageOf(t, layerOf(t, file("a", "content"))), "a:b")
		plain := filepath.Join(t.TempDir(), "image.tar")
		uncompressed(t, at, plain, func(layer []byte) { layer[bytes.Index(layer, []byte("content"))]++ })
		refused(t, plain, "as the image says")
	})
	t.Run("a manifest", func(t *testing.T) {
		at := layoutOf(t, imageOf(t))
		damage(t, blobOf(t, at, '{'), 1)
		if _, err := Open(t.Context(), at, Options{}); !errors.Is(err, ErrMalformed) {
			t.Errorf("have %v", err)
		}
	})
	t.Run("cut short", func(t *testing.T) {
		at := dockerArchive(t, imageOf(t, layerOf(t, file("a", strings.Repeat("x", 5000)))), "a:b")
		info, err := os.Stat(at)
		must(t, err)
		must(t, os.Truncate(at, info.Size()*2/3))
		if im, err := Open(t.Context(), at, Options{}); err == nil {
			_, err = im.Build(t.Context(), filepath.Join(t.TempDir(), "x"))
			if err == nil {
				t.Error("a part of an archive was accepted")
			}
			must(t, im.Close())
		}
	})
}

// blobOf returns the first blob of a layout that begins with first.
func blobOf(t *testing.T, layout string, first byte) string {
	t.Helper()
	blobs, err := filepath.Glob(filepath.Join(layout, "blobs/sha256/*"))
	must(t, err)
	for _, at := range blobs {
		data, err := os.ReadFile(at)
		must(t, err)
		if data[0] == first {
			return at
		}
	}
	t.Fatal("there is no such blob")
	return ""
}

// damage inserts a byte into a blob.
func damage(t *testing.T, at string, where int) {
	t.Helper()
	data, err := os.ReadFile(at)
	must(t, err)
	must(t, os.Chmod(at, 0o600))
	must(t, os.WriteFile(at, slices.Insert(data, where, ' '), 0o600))
}

// uncompressed rewrites a `docker save` archive with plain layers, which edit may
// change, as Docker's own are.
func uncompressed(t *testing.T, from, to string, edit func(layer []byte)) {
	t.Helper()
	in, err := os.Open(from)
	must(t, err)
	defer in.Close() //nolint:errcheck // a test's
	files, err := indexArchive(context.Background(), in)
	must(t, err)
	data, err := readSmall(files, "manifest.json", maxDocument)
	must(t, err)
	var all []dockerImage
	must(t, json.Unmarshal(data, &all))
	var members []tar.Header
	for i := range all[0].Layers {
		f, err := files.Open(all[0].Layers[i])
		must(t, err)
		plain, err := decompress(f)
		must(t, err)
		var layer bytes.Buffer
		_, err = layer.ReadFrom(plain)
		must(t, err)
		edit(layer.Bytes())
		all[0].Layers[i] = strconv.Itoa(i) + "/layer.tar"
		members = append(members, file(all[0].Layers[i], layer.String()))
	}
	config, err := readSmall(files, all[0].Config, maxDocument)
	must(t, err)
	manifest, err := json.Marshal(all)
	must(t, err)
	members = append(members, file(all[0].Config, string(config)), file("manifest.json", string(manifest)))
	must(t, os.WriteFile(to, layerOf(t, members...), 0o600))
}

// refused checks that the image can be opened and neither built nor pushed.
func refused(t *testing.T, at, want string) {
	t.Helper()
	im := open(t, at, Options{})
	target := filepath.Join(t.TempDir(), "root")
	_, err := im.Build(t.Context(), target)
	if err == nil {
		t.Fatal("built")
	}
	if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), want) {
		t.Errorf("have %v", err)
	}
	if _, err := os.Lstat(target); err == nil {
		t.Error("something was laid out")
	}
	cas, c := newCAS(t)
	if _, _, err := im.Push(t.Context(), c); err == nil || cas.writes > 0 {
		t.Errorf("pushed: %v, %d writes", err, cas.writes)
	}
}
