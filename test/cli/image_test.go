package cli

import (
	"archive/tar"
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/rogpeppe/go-internal/testscript"
)

// image KIND OUT DIR... makes an image with a layer of each directory: as a `docker
// save` archive (docker), as an OCI layout (oci), or in a registry that runs until
// the script ends and whose address becomes $REGISTRY (registry). A file called
// DEVICE in a layer is put there as a device node.
func image(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: image docker|oci|registry OUT DIR...")
	}
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH})
	ts.Check(err)
	for _, dir := range args[2:] {
		data, err := packLayer(ts.MkAbs(dir))
		ts.Check(err)
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
		ts.Check(err)
		img, err = mutate.AppendLayers(img, layer)
		ts.Check(err)
	}
	switch args[0] {
	case "docker":
		tag, err := name.NewTag("test/env")
		ts.Check(err)
		ts.Check(tarball.WriteToFile(ts.MkAbs(args[1]), tag, img))
	case "oci":
		index, err := layout.Write(ts.MkAbs(args[1]), empty.Index)
		ts.Check(err)
		ts.Check(index.AppendImage(img))
	case "registry":
		server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
		ts.Defer(server.Close)
		address := strings.TrimPrefix(server.URL, "http://")
		ts.Setenv("REGISTRY", address)
		ref, err := name.ParseReference(address + "/" + args[1])
		ts.Check(err)
		ts.Check(remote.Write(ref, img))
	default:
		ts.Fatalf("image: no kind %s", args[0])
	}
}

func packLayer(dir string) ([]byte, error) {
	var plain, out bytes.Buffer
	w := tar.NewWriter(&plain)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	r, w := tar.NewReader(&plain), tar.NewWriter(&out)
	for {
		h, err := r.Next()
		if err == io.EOF { //nolint:errorlint // as documented
			return out.Bytes(), w.Close()
		}
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(h.Name, "DEVICE") {
			h.Typeflag, h.Size = tar.TypeChar, 0
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.Copy(w, r); err != nil { //nolint:gosec // made above
				return nil, err
			}
		}
	}
}
