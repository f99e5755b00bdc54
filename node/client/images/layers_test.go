package images

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLayersGiveTheTree holds each rule of layers against what is on the disk in
// the end, and the pushed digest against that of what is on the disk.
func TestLayersGiveTheTree(t *testing.T) {
	for _, c := range []struct {
		name    string
		layers  [][]tar.Header
		want    []string // without the root's line
		skipped []Skipped
	}{
		{name: "no layers"},
		{
			name:   "permissions, with what the owner needs added and set-id bits taken",
			layers: [][]tar.Header{{dir("d", 0), fileMode("d/f", "x", 0o4755), fileMode("secret", "s", 0), dir("tmp", 0o1777), fileMode("g", "", 0o2640), fileMode("other", "", 0o641)}},
			want:   []string{"drwx------ d", `-rwxr-xr-x d/f "x"`, `-rw-r----- g ""`, `-rw-r----x other ""`, `-r-------- secret "s"`, "dtrwxrwxrwx tmp"},
		},
		{
			name:   "parents that no layer names",
			layers: [][]tar.Header{{file("./a/b/c", "1")}},
			want:   []string{"drwxr-xr-x a", "drwxr-xr-x a/b", `-rw-r--r-- a/b/c "1"`},
		},
		{
			name:   "upper layers replace files by files, directories and links, and back",
			layers: [][]tar.Header{{file("a", "1"), file("b", "1"), dir("c", 0o755), file("c/x", "1"), link("d", "a")}, {file("a", "2"), dir("b", 0o700), file("c", "2"), dir("d", 0o755)}},
			want:   []string{`-rw-r--r-- a "2"`, "drwx------ b", `-rw-r--r-- c "2"`, "drwxr-xr-x d"},
		},
		{
			name:   "directories merge, and the upper one's permissions hold",
			layers: [][]tar.Header{{dir("d", 0o755), file("d/a", "1")}, {dir("d", 0o711), file("d/b", "2")}},
			want:   []string{"drwx--x--x d", `-rw-r--r-- d/a "1"`, `-rw-r--r-- d/b "2"`},
		},
		{
			name:   "a whiteout hides lower layers, a whole directory too",
			layers: [][]tar.Header{{file("a", "1"), file("d/x", "1"), file("keep", "1")}, {file(".wh.a", ""), file(".wh.d", ""), file("no/.wh.such", "")}},
			want:   []string{`-rw-r--r-- keep "1"`},
		},
		{
			name:   "a whiteout never hides what its own layer brings, before it or after",
			layers: [][]tar.Header{{file("a", "1"), file("b", "1"), file("d/old", "1")}, {file("a", "2"), file("d/new", "2"), file(".wh.a", ""), file(".wh.b", ""), file("b", "2"), file(".wh.d", ""), hard("h", "b"), file(".wh.h", "")}},
			want:   []string{`-rw-r--r-- a "2"`, `-rw-r--r-- b "2"`, "drwxr-xr-x d", `-rw-r--r-- d/new "2"`, `-rw-r--r-- h "2"`},
		},
		{
			name:   "an opaque directory hides all that lower layers have in it",
			layers: [][]tar.Header{{file("d/a", "1"), file("d/s/b", "1"), file("o", "1")}, {file("d/new", "2"), file("d/.wh..wh..opq", ""), file("d/s/c", "2")}},
			want:   []string{"drwxr-xr-x d", `-rw-r--r-- d/new "2"`, "drwxr-xr-x d/s", `-rw-r--r-- d/s/c "2"`, `-rw-r--r-- o "1"`},
		},
		{
			name:   "the root can be opaque",
			layers: [][]tar.Header{{file("a", "1"), link("l", "a")}, {file(".wh..wh..opq", ""), file("b", "2")}},
			want:   []string{`-rw-r--r-- b "2"`},
		},
		{
			name:   "a link that becomes an opaque directory does not empty what it led to",
			layers: [][]tar.Header{{file("usr/lib/x", "1"), link("lib", "usr/lib")}, {dir("lib", 0o755), file("lib/.wh..wh..opq", "")}},
			want:   []string{"drwxr-xr-x lib", "drwxr-xr-x usr", "drwxr-xr-x usr/lib", `-rw-r--r-- usr/lib/x "1"`},
		},
		{
			name:   "a layer writes through the links of lower ones, within the root",
			layers: [][]tar.Header{{dir("usr/lib", 0o755), link("lib", "usr/lib"), link("usr/abs", "/usr/lib"), link("up", "../../../usr/lib")}, {file("lib/a", "1"), file("usr/abs/b", "2"), file("up/c", "3"), file("lib/.wh.none", "")}},
			want: []string{"Lrwxrwxrwx lib -> usr/lib", "Lrwxrwxrwx up -> ../../../usr/lib",
				"drwxr-xr-x usr", "Lrwxrwxrwx usr/abs -> /usr/lib", "drwxr-xr-x usr/lib", `-rw-r--r-- usr/lib/a "1"`, `-rw-r--r-- usr/lib/b "2"`, `-rw-r--r-- usr/lib/c "3"`},
		},
		{
			name:   "hard links, to lower layers and through links too, keep their content",
			layers: [][]tar.Header{{fileMode("bin/git", "git", 0o755), link("sbin", "bin"), hard("bin/git-add", "sbin/git")}, {hard("git2", "/bin/git"), file(".wh.git2", ""), file("bin/git", "new"), hard("l2", "sbin")}},
			want: []string{"drwxr-xr-x bin", `-rw-r--r-- bin/git "new"`, `-rwxr-xr-x bin/git-add "git"`, `-rwxr-xr-x git2 "git"`,
				"Lrwxrwxrwx l2 -> bin", "Lrwxrwxrwx sbin -> bin"},
		},
		{
			name:   "links out of the image are only links",
			layers: [][]tar.Header{{link("passwd", "/etc/passwd"), link("up", "../../../../etc/passwd"), link("dangling", "no/such")}},
			want:   []string{"Lrwxrwxrwx dangling -> no/such", "Lrwxrwxrwx passwd -> /etc/passwd", "Lrwxrwxrwx up -> ../../../../etc/passwd"},
		},
		{
			name:    "what a tree cannot hold is skipped, and hides what had its name",
			layers:  [][]tar.Header{{file("dev/null", "1"), file("x\xff", "1"), dir("y\xff", 0o755), file("y\xff/a/b", "1"), file("z\xff/c", "1")}, {special("dev/null", tar.TypeChar), special("dev/sda", tar.TypeBlock), special("run/fifo", tar.TypeFifo), hard("hard", "dev/null")}},
			want:    []string{"drwxr-xr-x dev", "drwxr-xr-x run"},
			skipped: []Skipped{{"dev/null", "character device"}, {"dev/sda", "block device"}, {"hard", "character device"}, {"run/fifo", "FIFO"}, {"x\xff", "its name or target is not UTF-8"}, {"y\xff", "its name or target is not UTF-8"}, {"z\xff", "its name or target is not UTF-8"}},
		},
		{
			name:   "absolute names are the image's, and files of AUFS mean nothing",
			layers: [][]tar.Header{{file("/etc/a", "1"), file(".wh..wh.plnk/1.2", ""), dir(".wh..wh.orph", 0o700), dir("./", 0o750)}},
			want:   []string{"drwxr-xr-x etc", `-rw-r--r-- etc/a "1"`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var layers [][]byte
			for _, members := range c.layers {
				layers = append(layers, layerOf(t, members...))
			}
			im := open(t, layoutOf(t, imageOf(t, layers...)), Options{})
			at, built, stats := build(t, im)
			have := strings.Split(strings.TrimSpace(listing(t, at)), "\n")[1:]
			if diff := cmp.Diff(c.want, have, cmp.Transformer("len0", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
				t.Errorf("the tree differs (-want +have):\n%s", diff)
			}
			if diff := cmp.Diff(c.skipped, stats.Skipped); diff != "" {
				t.Errorf("skipped (-want +have):\n%s", diff)
			}
			_, server := newCAS(t)
			pushed, pushStats, err := im.Push(t.Context(), server)
			must(t, err)
			if pushed != built {
				t.Errorf("pushed as %s, built as %s", pushed, built)
			}
			if diff := cmp.Diff(stats, pushStats.Stats); diff != "" {
				t.Errorf("stats differ (-build +push):\n%s", diff)
			}
		})
	}
}

func TestHardLinksAreOneFileOnTheDisk(t *testing.T) {
	at, _, _ := build(t, open(t, layoutOf(t, imageOf(t, layerOf(t, file("a", "1"), hard("d/b", "a")))), Options{}))
	a, err := os.Stat(filepath.Join(at, "a"))
	must(t, err)
	b, err := os.Stat(filepath.Join(at, "d/b"))
	must(t, err)
	if !os.SameFile(a, b) {
		t.Error("the hard link was copied")
	}
}
