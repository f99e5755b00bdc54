package client

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// All that is written goes through an os.Root, which follows no link out of it.

// makeDir makes a directory, in place of a file or link with its name; only a
// directory that the caller already had on the way to an output may be a link.
func makeDir(root *os.Root, d plannedDir) error {
	if d.path == "." {
		return nil
	}
	if !d.parent {
		if info, err := root.Lstat(d.path); err == nil && !info.IsDir() {
			if err := root.Remove(d.path); err != nil {
				return fmt.Errorf("replace %s: %w", filepath.Join(root.Name(), d.path), plainCause(err))
			}
		}
	}
	if err := root.MkdirAll(d.path, 0o777); err != nil {
		return fmt.Errorf("make directory %s: %w", filepath.Join(root.Name(), d.path), plainCause(err))
	}
	return nil
}

// placeAll writes a small file to each of its places.
func placeAll(root *os.Root, files []plannedFile, data []byte) error {
	for _, f := range files {
		if err := placeBytes(root, f, data); err != nil {
			return err
		}
	}
	return nil
}

// placeBytes writes straight to the final name when that is free.
func placeBytes(root *os.Root, f plannedFile, data []byte) error {
	file, err := root.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode())
	if errors.Is(err, fs.ErrExist) {
		return placeStream(root, f, func(w io.Writer) error {
			_, err := w.Write(data)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", f.path, err)
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Close()); err == nil {
		err = f.properties.apply(root, f.path)
	}
	if err != nil {
		_ = root.Remove(f.path)
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	return nil
}

// placeStream fills a file beside the final name and renames it when it is whole.
func placeStream(root *os.Root, f plannedFile, fill func(io.Writer) error) error {
	temporary := path.Join(path.Dir(f.path), ".bgrid-"+strconv.FormatUint(rand.Uint64(), 36))
	file, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode())
	if err != nil {
		return fmt.Errorf("create %s: %w", f.path, err)
	}
	err = fill(file)
	if err = errors.Join(err, file.Close()); err == nil {
		err = f.properties.apply(root, temporary)
	}
	if err == nil {
		if err = root.Rename(temporary, f.path); err != nil {
			err = fmt.Errorf("replace %s: %w", f.path, plainCause(err))
		}
	}
	if err != nil {
		_ = root.Remove(temporary)
	}
	return err
}

// placeLink makes a link, in place of an older link or file.
func placeLink(root *os.Root, l plannedLink) error {
	err := root.Symlink(l.target, l.path)
	if errors.Is(err, fs.ErrExist) {
		if info, statErr := root.Lstat(l.path); statErr == nil && !info.IsDir() {
			if err = root.Remove(l.path); err == nil {
				err = root.Symlink(l.target, l.path)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("link %s: %w", l.path, plainCause(err))
	}
	return nil
}

func (f plannedFile) mode() fs.FileMode {
	if f.executable {
		return 0o777
	}
	return 0o666
}

// apply sets what the node properties say of name.
func (p properties) apply(root *os.Root, name string) error {
	if p.hasMode {
		if err := root.Chmod(name, p.mode); err != nil {
			return err
		}
	}
	if p.mtime.IsZero() {
		return nil
	}
	return root.Chtimes(name, time.Time{}, p.mtime)
}

// plainCause strips the names of temporary files from an error of the system.
func plainCause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

func splitPath(name string) (dir, base string) {
	return filepath.Dir(name), filepath.Base(name)
}
