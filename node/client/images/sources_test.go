package images

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/zstd"
)

// newRegistry serves a real registry on the loopback address.
func newRegistry(t *testing.T) (address string) {
	t.Helper()
	server := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func pushTo(t *testing.T, ref string, img v1.Image) {
	t.Helper()
	r, err := name.ParseReference(ref)
	must(t, err)
	must(t, remote.Write(r, img))
}

// newDaemon serves what is needed of a Docker daemon on a Unix socket, and makes
// it this machine's.
func newTestDaemon(t *testing.T, ref string, img v1.Image) {
	t.Helper()
	tag, err := name.NewTag(ref)
	must(t, err)
	dir, err := os.MkdirTemp("", "bgrid") // a socket's path is short
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "docker.sock")
	listener, err := net.Listen("unix", socket)
	must(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /images/"+ref+"/json", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /images/"+ref+"/get", func(w http.ResponseWriter, _ *http.Request) { _ = tarball.Write(tag, img, w) })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 0} //nolint:gosec // a test's
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	t.Setenv("DOCKER_HOST", "unix://"+socket)
}

// TestEverySourceGivesTheSameTree takes one image by every way in.
func TestEverySourceGivesTheSameTree(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///no/such/socket")
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	first, second := layerOf(t, fileMode("bin/sh", "sh", 0o755), file("a", "1")), layerOf(t, file("b", "2"), file(".wh.a", ""))
	img := imageOf(t, first, second, first)
	address := newRegistry(t)
	pushTo(t, address+"/team/env:1", img)
	archive, dir := dockerArchive(t, img, "team/env:1"), layoutOf(t, img)
	plain := filepath.Join(t.TempDir(), "plain.tar")
	uncompressed(t, archive, plain, func([]byte) {})
	stdin, err := os.ReadFile(archive)
	must(t, err)
	small := empty.Image
	for _, data := range [][]byte{first, second, first} {
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }, tarball.WithCompression(compression.ZStd))
		must(t, err)
		small, err = mutate.AppendLayers(small, l)
		must(t, err)
	}
	_, want, _ := build(t, open(t, dir, Options{}))
	for label, ref := range map[string]string{
		"docker archive":         archive,
		"its plain form":         plain,
		"compressed":             gzipFile(t, archive),
		"compressed by zstd":     zstdFile(t, archive),
		"with its tag":           archive + ":team/env:1",
		"with its long tag":      "docker-archive:" + archive + ":index.docker.io/team/env:1",
		"OCI layout":             "oci:" + dir,
		"OCI layout by tag":      dir + ":v1",
		"OCI archive":            tarDir(t, dir),
		"OCI archive by tag":     "oci-archive:" + tarDir(t, dir) + ":v1",
		"zstd layers":            layoutOf(t, small),
		"registry":               "docker://" + address + "/team/env:1",
		"registry, found":        address + "/team/env:1",
		"standard input":         "-",
		"compressed OCI archive": gzipFile(t, tarDir(t, dir)),
	} {
		t.Run(label, func(t *testing.T) {
			temp := t.TempDir()
			im, err := Open(t.Context(), ref, Options{Stdin: bytes.NewReader(stdin), TempDir: temp, Progress: &Progress{}})
			must(t, err)
			_, have, _ := build(t, im)
			if have != want {
				t.Errorf("have %s, want %s", have, want)
			}
			must(t, im.Close())
			if left, _ := os.ReadDir(temp); len(left) > 0 {
				t.Errorf("left in the temporary directory: %v", left)
			}
		})
	}
	t.Run("daemon", func(t *testing.T) {
		newTestDaemon(t, "team/env", img)
		var notes []string
		for _, ref := range []string{"docker-daemon:team/env", "team/env"} {
			im := open(t, ref, Options{Note: func(s string) { notes = append(notes, s) }})
			if _, have, _ := build(t, im); have != want {
				t.Errorf("have %s, want %s", have, want)
			}
		}
		if len(notes) != 1 || !strings.Contains(notes[0], "local Docker daemon") {
			t.Errorf("notes: %q", notes)
		}
		pushTo(t, address+"/only/registry", img)
		if _, have, _ := build(t, open(t, address+"/only/registry", Options{})); have != want {
			t.Errorf("what the daemon lacks: have %s, want %s", have, want)
		}
	})
}

func zstdFile(t *testing.T, from string) string {
	t.Helper()
	data, err := os.ReadFile(from)
	must(t, err)
	w, err := zstd.NewWriter(nil)
	must(t, err)
	must(t, os.WriteFile(from+".zst", w.EncodeAll(data, nil), 0o600))
	return from + ".zst"
}

// TestOpenSaysWhatIsWrong checks the errors that people see.
func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Setenv("DOCKER_HOST", "")
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	address := newRegistry(t)
	one, two := imageOf(t, layerOf(t, file("a", "1"))), imageOf(t, layerOf(t, file("b", "1")))
	other := layoutOf(t, imageFor(t, v1.Platform{OS: "plan9", Architecture: "mips"}))
	junk := filepath.Join(t.TempDir(), "junk.tar")
	must(t, os.WriteFile(junk, layerOf(t, file("etc/passwd", "")), 0o600))
	text := filepath.Join(t.TempDir(), "text")
	must(t, os.WriteFile(text, bytes.Repeat([]byte("text "), 1000), 0o600))
	for _, c := range []struct {
		ref, want string
		is        error
	}{
		{"/no/such.tar", "no such image: /no/such.tar: no such file or directory", ErrNoImage},
		{"oci:nowhere:v1", "nowhere:v1: no such file", ErrNoImage},
		{layoutOf(t, one, two), "several images: name one of v1, v2 after a colon", ErrAmbiguous},
		{layoutOf(t, one) + ":v9", "it has no image v9; it has: v1", ErrNoImage},
		{layoutOf(t), "it holds no image", ErrNoImage},
		{other, "it is for plan9/mips, not for linux/", ErrPlatform},
		{dockerArchive(t, imageFor(t, v1.Platform{OS: "plan9", Architecture: "mips"}), "a:b"), "it is for plan9/mips, not for linux/", ErrPlatform},
		{junk, "neither a `docker save` archive nor an OCI layout", ErrNoImage},
		{text, "malformed image: read its archive", ErrMalformed},
		{t.TempDir(), "neither a `docker save` archive nor an OCI layout", ErrNoImage},
		{"docker://" + address + "/no/such", "the registry " + address + " does not have", ErrNoImage},
		{"docker://Not A Reference", "could not parse reference", ErrNoImage},
		{"docker-daemon:debian", "there is no local Docker daemon", errNoDaemon},
		{"-", "there is no standard input", ErrNoImage},
	} {
		_, err := Open(t.Context(), c.ref, Options{})
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: have %v, want %q", c.ref, err, c.want)
		}
	}
}

// TestThePlatformChooses takes one image of an index, on a disk and in a registry.
func TestThePlatformChooses(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	index := v1.ImageIndex(empty.Index)
	for _, text := range []string{"linux/arm64/v8", "linux/amd64", "linux/arm/v6", "linux/arm/v7", "windows/amd64"} {
		p, err := ParsePlatform(text)
		must(t, err)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        imageFor(t, p, layerOf(t, file("platform", text))),
			Descriptor: v1.Descriptor{Platform: &p},
		})
	}
	address := newRegistry(t)
	ref, err := name.ParseReference(address + "/multi")
	must(t, err)
	must(t, remote.WriteIndex(ref, index))
	dir := t.TempDir()
	l, err := layout.Write(dir, empty.Index)
	must(t, err)
	must(t, l.AppendIndex(index))
	for _, c := range []struct{ platform, want string }{
		{"linux/amd64", "linux/amd64"}, {"x86_64", "linux/amd64"}, {"arm64", "linux/arm64/v8"},
		{"linux/aarch64/v8", "linux/arm64/v8"}, {"linux/arm/v7", "linux/arm/v7"}, {"windows/amd64", "windows/amd64"},
		{"riscv64", "no image for the platform: it is for linux/arm64, linux/amd64, linux/arm/v6, linux/arm/v7, windows/amd64, not for linux/riscv64"},
	} {
		for _, source := range []string{dir, "docker://" + address + "/multi"} {
			p, err := ParsePlatform(c.platform)
			must(t, err)
			im, err := Open(t.Context(), source, Options{Platform: p})
			if err != nil {
				if !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s of %s: %v", c.platform, source, err)
				}
				continue
			}
			at, _, _ := build(t, im)
			have, err := os.ReadFile(filepath.Join(at, "platform"))
			if string(have) != c.want {
				t.Errorf("%s of %s: have %s (%v)", c.platform, source, have, err)
			}
			must(t, im.Close())
		}
	}
	for _, text := range []string{"a/b/c/d", "linux/", "/amd64"} {
		if _, err := ParsePlatform(text); err == nil {
			t.Errorf("platform %q was accepted", text)
		}
	}
}

func TestNamesAreTakenApart(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, at := range []string{"debian", "layout"} {
		must(t, os.Mkdir(at, 0o700))
	}
	must(t, os.WriteFile("layout/index.json", nil, 0o600))
	must(t, os.WriteFile("a:b.tar", nil, 0o600))
	must(t, os.WriteFile("saved", nil, 0o600))
	for text, want := range map[string]reference{
		"debian:12":                {fromAnywhere, "debian:12", ""},
		"debian":                   {fromAnywhere, "debian", ""},
		"./debian":                 {fromPath, "./debian", ""},
		"layout":                   {fromPath, "layout", ""},
		"layout:x/y:z":             {fromPath, "layout", "x/y:z"},
		"a:b.tar":                  {fromPath, "a:b.tar", ""},
		"a:b.tar:c":                {fromPath, "a:b.tar", "c"},
		"saved":                    {fromPath, "saved", ""},
		"docker://saved":           {fromRegistry, "saved", ""},
		"docker-daemon:saved":      {fromDaemon, "saved", ""},
		"no/such.tar":              {fromPath, "no/such.tar", ""},
		"../x":                     {fromPath, "../x", ""},
		"localhost:5000/x@sha256:": {fromAnywhere, "localhost:5000/x@sha256:", ""},
		"-":                        {fromStdin, "", ""},
	} {
		if have := parseReference(text); have != want {
			t.Errorf("%s: have %+v, want %+v", text, have, want)
		}
	}
}

// TestAnInterruptedDownloadLeavesNothing cancels while a registry sends.
func TestAnInterruptedDownloadLeavesNothing(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	address, temp := newRegistry(t), t.TempDir()
	pushTo(t, address+"/x", imageOf(t, layerOf(t, file("a", "1"))))
	ctx, cancel := context.WithCancel(t.Context())
	p := &Progress{}
	o := &opening{Options: Options{Progress: p}, spool: &spool{parent: temp}}
	o.Platform, _ = ParsePlatform("")
	cancel()
	if _, err := o.openRegistry(ctx, address+"/x"); !errors.Is(err, context.Canceled) {
		t.Errorf("have %v", err)
	}
	must(t, o.Close())
	if left, _ := os.ReadDir(temp); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
