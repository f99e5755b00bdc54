package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Options say which image is meant and how it is read. The zero value is ready to
// use.
type Options struct {
	// Platform is that of the image; the zero value is Linux on this machine's
	// architecture. See ParsePlatform.
	Platform v1.Platform
	// Insecure allows registries without TLS. Those on this machine never need it.
	Insecure bool
	// Stdin is read when the image's name is "-".
	Stdin io.Reader
	// TempDir holds what has to be kept while the image is open: an archive from a
	// stream or the daemon, the compressed layers from a registry. "" is the
	// system's.
	TempDir string
	// Progress, which may be nil, is told of all that takes time.
	Progress *Progress
	// Note, which may be nil, is told what people should know.
	Note func(string)
}

// Image is an opened image: its layers are at hand, and not yet read.
type Image struct {
	Name string // as it was found: a path or a full reference

	layers   []*layer
	progress *Progress
	tempDir  string
	closers  []io.Closer
}

// Close removes what was kept for the image.
func (im *Image) Close() error {
	var errs []error
	for _, c := range im.closers {
		errs = append(errs, c.Close())
	}
	im.closers = nil
	return errors.Join(errs...)
}

// stored is the size of the layers as they are stored, in bytes.
func (im *Image) stored() (bytes int64) {
	for _, l := range im.layers {
		bytes += l.size
	}
	return bytes
}

// Open finds an image. name is
//   - the path of a `docker save` archive or of an OCI layout, as a directory or an
//     archive; archives may be compressed with gzip or zstd. Of several images one is
//     named with ":" and its tag after the path. "-" is an archive on standard input;
//   - or a reference such as debian:12, which the local Docker daemon is asked for
//     first, and then the registry.
//
// oci:PATH, oci-archive:PATH, docker-archive:PATH, docker-daemon:REFERENCE and
// docker://REFERENCE say which of these is meant. Layers of a registry's image are
// downloaded here. Errors wrap ErrNoImage, ErrPlatform, ErrAmbiguous or
// ErrMalformed where these are the cause.
func Open(ctx context.Context, name string, o Options) (*Image, error) {
	if o.Platform.OS == "" {
		o.Platform, _ = ParsePlatform("") // cannot fail
	}
	if o.Note == nil {
		o.Note = func(string) {}
	}
	opening := &opening{Options: o, spool: &spool{parent: o.TempDir}}
	im, err := opening.open(ctx, parseReference(name))
	if err != nil {
		return nil, errors.Join(err, opening.Close())
	}
	im.progress, im.tempDir = o.Progress, o.TempDir
	im.closers = append(im.closers, opening)
	return im, nil
}

// opening is an Open that goes on, and what it has to close.
type opening struct {
	Options
	spool   *spool
	closers []io.Closer
}

func (o *opening) open(ctx context.Context, r reference) (*Image, error) {
	switch r.from {
	case fromStdin:
		if o.Stdin == nil {
			return nil, fmt.Errorf("%w: there is no standard input", ErrNoImage)
		}
		file, err := o.spool.keep(ctx, o.Stdin)
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return o.openArchive(ctx, "standard input", file, r.tag)
	case fromPath:
		return o.openPath(ctx, r.name, r.tag)
	case fromDaemon:
		return o.openDaemon(ctx, r.name)
	case fromRegistry:
		return o.openRegistry(ctx, r.name)
	}
	im, err := o.openDaemon(ctx, r.name)
	switch {
	case err == nil:
		o.Note("taken from the local Docker daemon: " + im.Name)
		return im, nil
	case errors.Is(err, errNoDaemon), errors.Is(err, ErrNoImage):
	default:
		o.Note(fmt.Sprintf("not asking the local Docker daemon: %s", err))
	}
	why := err
	if im, err = o.openRegistry(ctx, r.name); err != nil && errors.Is(err, ErrNoImage) {
		return nil, fmt.Errorf("%w; %w", err, why)
	}
	return im, err
}

// openPath opens a directory or an archive.
func (o *opening) openPath(ctx context.Context, name, tag string) (*Image, error) {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s: no such file or directory", ErrNoImage, name)
	}
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		root, err := os.OpenRoot(name)
		if err != nil {
			return nil, err
		}
		o.closers = append(o.closers, root)
		return o.openFiles(ctx, name, root.FS(), tag)
	}
	file, err := os.Open(name) //nolint:gosec // the user's own choice
	if err != nil {
		return nil, err
	}
	o.closers = append(o.closers, file)
	if !info.Mode().IsRegular() { // a pipe cannot be read twice
		if file, err = o.spool.keep(ctx, file); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	return o.openArchive(ctx, name, file, tag)
}

// openArchive opens a tar file, after unpacking it where it is compressed.
func (o *opening) openArchive(ctx context.Context, name string, file *os.File, tag string) (*Image, error) {
	magic := make([]byte, 6)
	n, err := file.ReadAt(magic, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if isCompressed(magic[:n]) {
		if file, err = o.unpack(ctx, file); err != nil {
			return nil, fmt.Errorf("unpack %s: %w", name, err)
		}
	}
	files, err := indexArchive(ctx, file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return o.openFiles(ctx, name, files, tag)
}

func (o *opening) unpack(ctx context.Context, file *os.File) (*os.File, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	o.Progress.begin("unpack", "archives", 1, info.Size())
	packed := &guarded{ctx: ctx, from: io.NewSectionReader(file, 0, info.Size()), tell: o.Progress.read}
	plain, err := decompress(packed)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	limit := &budget{}
	return o.spool.keep(ctx, &guarded{ctx: ctx, from: plain, tell: limit.unpacked, check: limit.check})
}

// openFiles tells a `docker save` archive from an OCI layout. An archive may be
// both; then its Docker part is the one that has the images' names.
func (o *opening) openFiles(ctx context.Context, name string, files fs.FS, tag string) (*Image, error) {
	for _, format := range []struct {
		marker string
		open   func(context.Context, fs.FS, string) (*Image, error)
	}{{"manifest.json", o.openDocker}, {"index.json", o.openLayout}} {
		if _, err := fs.Stat(files, format.marker); err != nil {
			continue
		}
		im, err := format.open(ctx, files, tag)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		im.Name = filepath.ToSlash(name)
		return im, nil
	}
	return nil, fmt.Errorf("%w: %s is neither a `docker save` archive nor an OCI layout: it has neither manifest.json nor index.json", ErrNoImage, name)
}

// Close removes what was kept.
func (o *opening) Close() error {
	var errs []error
	for _, c := range o.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(append(errs, o.spool.Close())...)
}
