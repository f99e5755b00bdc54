package images

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Limits on the documents that describe an image. Registries refuse manifests above
// 4 MiB.
const (
	maxDocument = 8 << 20 // bytes
	maxLayers   = 1000
)

// dockerImage is one element of the manifest.json of a `docker save` archive.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// config is what matters of an image's configuration.
type config struct {
	v1.Platform
	RootFS struct {
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

// openDocker opens an image of a `docker save` archive. tag may be "" when it
// holds one for the platform.
func (o *opening) openDocker(_ context.Context, files fs.FS, tag string) (*Image, error) {
	data, err := readSmall(files, "manifest.json", maxDocument)
	if err != nil {
		return nil, err
	}
	var all []dockerImage
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, malformed("manifest.json: %w", err)
	}
	var found []dockerImage
	var configs []config
	var others []string // of images for other platforms
	for _, d := range all {
		if tag != "" && !slices.ContainsFunc(d.RepoTags, func(t string) bool { return sameTag(t, tag) }) {
			continue
		}
		c, err := readConfig(files, d.Config)
		if err != nil {
			return nil, err
		}
		if !serves(c.Platform, o.Platform) {
			others = append(others, platformText(c.Platform))
			continue
		}
		if !slices.ContainsFunc(found, func(f dockerImage) bool { return f.Config == d.Config }) {
			found, configs = append(found, d), append(configs, c)
		}
	}
	var tags []string
	for _, d := range all {
		tags = append(tags, d.RepoTags...)
	}
	if err := onlyOne(len(found), tag, tags, o.Platform, others); err != nil {
		return nil, err
	}
	return dockerLayers(files, found[0], configs[0])
}

// onlyOne explains why not exactly one image was found.
func onlyOne(found int, tag string, tags []string, want v1.Platform, others []string) error {
	switch {
	case found == 1:
		return nil
	case found > 1:
		return fmt.Errorf("%w: name one of %s after a colon", ErrAmbiguous, strings.Join(tags, ", "))
	case len(others) > 0:
		return fmt.Errorf("%w: it is for %s, not for %s", ErrPlatform, strings.Join(others, ", "), platformText(want))
	case tag != "":
		return fmt.Errorf("%w: it has no image %s; it has: %s", ErrNoImage, tag, strings.Join(tags, ", "))
	}
	return fmt.Errorf("%w: it holds no image", ErrNoImage)
}

func readConfig(files fs.FS, file string) (c config, err error) {
	data, err := readSmall(files, path.Clean(file), maxDocument)
	if err != nil {
		return c, err
	}
	return parseConfig(data)
}

func parseConfig(data []byte) (c config, err error) {
	if err := json.Unmarshal(data, &c); err != nil {
		return c, malformed("its configuration: %w", err)
	}
	return c, nil
}

// dockerLayers checks layers by their unpacked content: nothing else has a digest in
// such an archive.
func dockerLayers(files fs.FS, d dockerImage, c config) (*Image, error) {
	if len(d.Layers) > maxLayers {
		return nil, malformed("it has %d layers, at most %d", len(d.Layers), maxLayers)
	}
	if len(d.Layers) != len(c.RootFS.DiffIDs) {
		return nil, malformed("it has %d layers, and its configuration names %d", len(d.Layers), len(c.RootFS.DiffIDs))
	}
	im := &Image{}
	for i, file := range d.Layers {
		file = path.Clean(file)
		if !fs.ValidPath(file) {
			return nil, malformed("it names the file %q", file)
		}
		info, err := fs.Stat(files, file)
		if err != nil {
			return nil, missing(file, err)
		}
		diff, err := sha256Of(c.RootFS.DiffIDs[i])
		if err != nil {
			return nil, err
		}
		im.layers = append(im.layers, &layer{
			name: layerName(i, len(d.Layers), diff),
			size: info.Size(),
			diff: diff,
			open: func(context.Context) (io.ReadCloser, error) { return files.Open(file) },
		})
	}
	return im, nil
}

// layerName says which layer is meant.
func layerName(i, of int, sum string) string {
	return fmt.Sprintf("layer %d of %d (%.12s)", i+1, of, sum)
}

// sha256Of returns the hash of a digest such as "sha256:12ab...".
func sha256Of(text string) (string, error) {
	h, err := v1.NewHash(text)
	if err != nil || h.Algorithm != "sha256" {
		return "", malformed("it has the digest %.80q, and only SHA-256 is known here", text)
	}
	return h.Hex, nil
}

// sameTag compares references in their full forms: "a" is
// "index.docker.io/library/a:latest".
func sameTag(a, b string) bool {
	if a == b {
		return true
	}
	x, err := name.ParseReference(a)
	if err != nil {
		return false
	}
	y, err := name.ParseReference(b)
	return err == nil && x.Name() == y.Name()
}
