package images

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// repository is where an image's manifests and blobs come from.
type repository interface {
	// document returns a manifest, an index or a configuration, verified and of at
	// most maxDocument bytes.
	document(ctx context.Context, d v1.Descriptor) ([]byte, error)
	// blob opens a layer as it is stored, as often as one likes.
	blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
}

// Limits on indexes, which may name each other.
const (
	maxIndexes   = 5 // deep
	maxManifests = 1000
)

// selection collects the manifests of an index that serve a platform.
type selection struct {
	from   repository
	want   v1.Platform
	tag    string // "" takes all
	count  int
	found  []v1.Descriptor
	tags   []string // of all that an index names
	others []string // platforms that do not serve
}

// gather looks at manifests and, depth-first, at the indexes among them.
func (s *selection) gather(ctx context.Context, all []v1.Descriptor, depth int) error {
	if depth > maxIndexes {
		return malformed("its indexes are more than %d deep", maxIndexes)
	}
	for _, d := range all {
		if s.count++; s.count > maxManifests {
			return malformed("its indexes name more than %d manifests", maxManifests)
		}
		tags := tagsOf(d)
		s.tags = append(s.tags, tags...)
		if depth == 0 && s.tag != "" && !slices.ContainsFunc(tags, func(t string) bool { return sameTag(t, s.tag) }) {
			continue
		}
		if err := s.consider(ctx, d, depth); err != nil {
			return err
		}
	}
	return nil
}

func (s *selection) consider(ctx context.Context, d v1.Descriptor, depth int) error {
	switch {
	case d.MediaType.IsIndex():
		data, err := s.from.document(ctx, d)
		if err != nil {
			return err
		}
		index, err := v1.ParseIndexManifest(bytes.NewReader(data))
		if err != nil {
			return malformed("its index: %w", err)
		}
		return s.gather(ctx, index.Manifests, depth+1)
	case !d.MediaType.IsImage(), d.Annotations["vnd.docker.reference.type"] != "":
		return nil // an attestation, or another artifact
	}
	platform := d.Platform
	if platform == nil {
		_, c, err := readManifest(ctx, s.from, d)
		if err != nil {
			return err
		}
		platform = &c.Platform
	}
	if !serves(*platform, s.want) {
		s.others = append(s.others, platformText(*platform))
		return nil
	}
	if !slices.ContainsFunc(s.found, func(f v1.Descriptor) bool { return f.Digest == d.Digest }) {
		s.found = append(s.found, d)
	}
	return nil
}

// tagsOf returns the names that a layout's index has for a manifest.
func tagsOf(d v1.Descriptor) (tags []string) {
	for _, key := range []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"} {
		if t := d.Annotations[key]; t != "" {
			tags = append(tags, t)
		}
	}
	return tags
}

// readManifest reads an image's manifest and configuration.
func readManifest(ctx context.Context, from repository, d v1.Descriptor) (*v1.Manifest, config, error) {
	data, err := from.document(ctx, d)
	if err != nil {
		return nil, config{}, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(data))
	if err != nil {
		return nil, config{}, malformed("its manifest: %w", err)
	}
	if !m.Config.MediaType.IsConfig() && m.Config.MediaType != "" {
		return nil, config{}, malformed("it is no image: its configuration is a %.80q", m.Config.MediaType)
	}
	if data, err = from.document(ctx, m.Config); err != nil {
		return nil, config{}, err
	}
	c, err := parseConfig(data)
	return m, c, err
}

// openManifest opens the image with this manifest, whose platform must serve.
func (o *opening) openManifest(ctx context.Context, from repository, d v1.Descriptor) (*Image, error) {
	m, c, err := readManifest(ctx, from, d)
	if err != nil {
		return nil, err
	}
	if !serves(c.Platform, o.Platform) {
		return nil, fmt.Errorf("%w: it is for %s, not for %s", ErrPlatform, platformText(c.Platform), platformText(o.Platform))
	}
	if len(m.Layers) > maxLayers {
		return nil, malformed("it has %d layers, at most %d", len(m.Layers), maxLayers)
	}
	im := &Image{}
	for i, l := range m.Layers {
		sum, err := sha256Of(l.Digest.String())
		if err != nil {
			return nil, err
		}
		im.layers = append(im.layers, &layer{
			name: layerName(i, len(m.Layers), sum),
			size: l.Size,
			sum:  sum,
			open: func(ctx context.Context) (io.ReadCloser, error) { return from.blob(ctx, l) },
		})
	}
	return im, nil
}
