package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// layoutDir is an OCI image layout (OCI image specification, image-layout.md), in a
// directory or an archive.
type layoutDir struct{ files fs.FS }

func (l layoutDir) document(_ context.Context, d v1.Descriptor) ([]byte, error) {
	sum, err := sha256Of(d.Digest.String())
	if err != nil {
		return nil, err
	}
	data, err := readSmall(l.files, "blobs/sha256/"+sum, maxDocument)
	if err != nil {
		return nil, err
	}
	if have := sha256.Sum256(data); hex.EncodeToString(have[:]) != sum {
		return nil, malformed("blobs/sha256/%s has other content than its name says", sum)
	}
	return data, nil
}

func (l layoutDir) blob(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	file := "blobs/sha256/" + d.Digest.Hex
	f, err := l.files.Open(file)
	if err != nil {
		return nil, missing(file, err)
	}
	return f, nil
}

// openLayout opens an image of an OCI layout. tag may be "" when it holds one for
// the platform.
func (o *opening) openLayout(ctx context.Context, files fs.FS, tag string) (*Image, error) {
	data, err := readSmall(files, "index.json", maxDocument)
	if err != nil {
		return nil, err
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(data))
	if err != nil {
		return nil, malformed("index.json: %w", err)
	}
	s := &selection{from: layoutDir{files}, want: o.Platform, tag: tag}
	if err := s.gather(ctx, index.Manifests, 0); err != nil {
		return nil, err
	}
	if err := onlyOne(len(s.found), tag, s.tags, o.Platform, s.others); err != nil {
		return nil, err
	}
	return o.openManifest(ctx, s.from, s.found[0])
}
