package images

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Build lays the image's tree out in the local directory dir, which is made where
// it is not there and must be empty otherwise. Everything belongs to the caller.
// Permissions are the image's, without set-id bits; the owner may in addition read
// files, and read, write and search directories. On an error dir is left as empty
// as it was.
//
// Nothing is written outside of dir, whatever the image says: all goes through an
// os.Root, directories come first, and links last.
func (im *Image) Build(ctx context.Context, dir string) (_ Stats, err error) {
	if err := checkEmpty(dir); err != nil {
		return Stats{}, err
	}
	t, err := im.model(ctx, digest.SHA256, false)
	if err != nil {
		return Stats{}, err
	}
	p, err := t.plan()
	if err != nil {
		return Stats{}, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as mkdir does
		return Stats{}, fmt.Errorf("make directory: %w", err)
	}
	if err := checkEmpty(dir); err != nil {
		return Stats{}, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Stats{}, err
	}
	defer root.Close() //nolint:errcheck // nothing is written through it any more
	defer func() {
		if err != nil {
			err = errors.Join(err, removeEntries(root))
		}
	}()
	contents, bytes := p.bytes()
	im.progress.begin("write", "files", contents, bytes)
	if err := makeDirs(ctx, root, p.dirs); err != nil {
		return Stats{}, err
	}
	if err := im.writeFiles(ctx, root, p); err != nil {
		return Stats{}, err
	}
	for _, l := range p.links {
		if err := root.Symlink(l.target, l.path); err != nil {
			return Stats{}, placeError(root, "make symbolic link", l.path, err)
		}
	}
	return p.stats, setPermissions(root, p.dirs)
}

// checkEmpty reports what is in the way in dir.
func checkEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("read directory: %w", err)
	case len(entries) > 0:
		return fmt.Errorf("%w: %s has %q in it; an image is laid out in a directory of its own", ErrNotEmpty, dir, entries[0].Name())
	}
	return nil
}

func makeDirs(ctx context.Context, root *os.Root, dirs []plannedDir) error {
	for _, d := range dirs[1:] {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := root.Mkdir(d.path, 0o700); err != nil {
			return placeError(root, "make directory", d.path, err)
		}
	}
	return nil
}

// setPermissions comes last and goes from the leaves up: until then the directories
// have to be open to the caller and to nobody else.
func setPermissions(root *os.Root, dirs []plannedDir) error {
	for i := len(dirs) - 1; i >= 0; i-- {
		if err := root.Chmod(dirs[i].path, dirs[i].perm|0o700); err != nil {
			return placeError(root, "set permissions of", dirs[i].path, err)
		}
	}
	return nil
}

// writeFiles reads the layers again, those at least that have something left.
func (im *Image) writeFiles(ctx context.Context, root *os.Root, p *plan) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce())
	for number, wanted := range p.files {
		group.Go(func() error {
			w := &writer{root: root, buffer: make([]byte, copyBuffer), progress: im.progress}
			return im.layers[number-1].read(ctx, &budget{}, nil, func(r io.Reader) error {
				return eachMember(r, func(index int, _ *tar.Header, content io.Reader) error {
					if f := wanted[index]; f != nil {
						return w.write(f, content)
					}
					return nil
				})
			})
		})
	}
	return group.Wait()
}

// writer lays out files.
type writer struct {
	root     *os.Root
	buffer   []byte
	progress *Progress
}

// write makes a file under its first name and links the others to it.
func (w *writer) write(f *plannedFile, content io.Reader) error {
	if err := w.create(f, f.paths[0], content); err != nil {
		return err
	}
	for _, name := range f.paths[1:] {
		if err := w.root.Link(f.paths[0], name); err != nil {
			if err := w.copy(f, name); err != nil {
				return err
			}
		}
	}
	w.progress.finish(1)
	return nil
}

func (w *writer) create(f *plannedFile, name string, content io.Reader) error {
	file, err := w.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return placeError(w.root, "create", name, err)
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{file}, struct{ io.Reader }{content}, w.buffer)
	w.progress.read(n)
	if err == nil && n != f.size {
		err = malformed("it has %d bytes, and had %d when it was read before", n, f.size)
	}
	if err == nil {
		err = file.Chmod(f.perm | 0o400)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// copy serves file systems without hard links.
func (w *writer) copy(f *plannedFile, name string) error {
	file, err := w.root.Open(f.paths[0])
	if err != nil {
		return placeError(w.root, "open", f.paths[0], err)
	}
	defer file.Close() //nolint:errcheck // read only
	return w.create(f, name, file)
}

// removeEntries removes what an unfinished build has made.
func removeEntries(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // read only
	names, err := dir.Readdirnames(-1)
	errs := []error{err}
	for _, name := range names {
		errs = append(errs, root.RemoveAll(name))
	}
	return errors.Join(errs...)
}

// placeError names the whole path.
func placeError(root *os.Root, verb, name string, err error) error {
	var path *fs.PathError
	var link *os.LinkError
	if errors.As(err, &path) {
		err = path.Err
	} else if errors.As(err, &link) {
		err = link.Err
	}
	return fmt.Errorf("%s %s: %w", verb, filepath.Join(root.Name(), name), err)
}
