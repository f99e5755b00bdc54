package images

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Members of a layer, short to write.
func file(name, body string) tar.Header { return fileMode(name, body, 0o644) }

// The body of a file travels in a field that archives of files do not use.
func fileMode(name, body string, mode int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Uname: body, Size: int64(len(body)), Mode: mode}
}
func dir(name string, mode int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}
}
func link(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}
}
func hard(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644}
}
func special(name string, flag byte) tar.Header {
	return tar.Header{Typeflag: flag, Name: name, Mode: 0o600}
}

// layerOf packs members as a layer's archive.
func layerOf(t testing.TB, members ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range members {
		body := h.Uname
		h.Uname = ""
		must(t, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := io.WriteString(w, body)
			must(t, err)
		}
	}
	must(t, w.Close())
	return out.Bytes()
}

// imageOf makes an image for this machine's platform.
func imageOf(t testing.TB, layers ...[]byte) v1.Image {
	t.Helper()
	p, err := ParsePlatform("")
	must(t, err)
	return imageFor(t, p, layers...)
}

func imageFor(t testing.TB, p v1.Platform, layers ...[]byte) v1.Image {
	t.Helper()
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant})
	must(t, err)
	for _, data := range layers {
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
		must(t, err)
		img, err = mutate.AppendLayers(img, l)
		must(t, err)
	}
	return img
}

// layoutOf writes an OCI layout and returns its directory.
func layoutOf(t testing.TB, all ...v1.Image) string {
	t.Helper()
	at := t.TempDir()
	l, err := layout.Write(at, empty.Index)
	must(t, err)
	for i, img := range all {
		must(t, l.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": fmt.Sprintf("v%d", i+1)})))
	}
	return at
}

// dockerArchive writes what `docker save` would.
func dockerArchive(t testing.TB, img v1.Image, tag string) string {
	t.Helper()
	at := filepath.Join(t.TempDir(), "image.tar")
	ref, err := name.NewTag(tag)
	must(t, err)
	must(t, tarball.WriteToFile(at, ref, img))
	return at
}

// tarDir packs a directory, as `tar -C dir -c .` does.
func tarDir(t testing.TB, from string) string {
	t.Helper()
	at := filepath.Join(t.TempDir(), "layout.tar")
	out, err := os.Create(at)
	must(t, err)
	w := tar.NewWriter(out)
	must(t, w.AddFS(os.DirFS(from)))
	must(t, w.Close())
	must(t, out.Close())
	return at
}

func gzipFile(t testing.TB, from string) string {
	t.Helper()
	data, err := os.ReadFile(from)
	must(t, err)
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err = w.Write(data)
	must(t, err)
	must(t, w.Close())
	must(t, os.WriteFile(from+".gz", out.Bytes(), 0o600))
	return from + ".gz"
}

// open opens an image for the length of a test.
func open(t testing.TB, ref string, o Options) *Image {
	t.Helper()
	im, err := Open(t.Context(), ref, o)
	must(t, err)
	t.Cleanup(func() { must(t, im.Close()) })
	return im
}

// build lays an image out and returns the digest that its upload would have.
func build(t testing.TB, im *Image) (string, digest.Digest, Stats) {
	t.Helper()
	at := filepath.Join(t.TempDir(), "root")
	stats, err := im.Build(t.Context(), at)
	must(t, err)
	tree, err := client.ReadDir(t.Context(), digest.SHA256, at)
	must(t, err)
	return at, tree.Root, stats
}

// listing describes a tree on the disk, one line an entry.
func listing(t testing.TB, at string) string {
	t.Helper()
	var out strings.Builder
	must(t, filepath.WalkDir(at, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(at, p)
		fmt.Fprintf(&out, "%s %s", info.Mode(), rel)
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, " %q", data)
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, " -> %s", target)
		}
		out.WriteString("\n")
		return nil
	}))
	return out.String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
