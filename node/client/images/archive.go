package images

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"
)

// maxMembers bounds the members of an image's archive: a few for each layer.
const maxMembers = 100_000

// archive is a tar file whose members can be opened by name, each as often as one
// likes. It is a file system of regular files: links are resolved when it is read.
type archive struct {
	file    *os.File
	members map[string]member
}

type member struct {
	offset, size int64
	link         string // another member, instead of content
}

// indexArchive notes where each member lies. Contents are skipped.
func indexArchive(ctx context.Context, file *os.File) (*archive, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	a := &archive{file: file, members: map[string]member{}}
	err := eachMember(file, func(_ int, h *tar.Header, _ io.Reader) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		name, err := cleanPath(h.Name)
		if err != nil {
			return err
		}
		if len(a.members) == maxMembers {
			return malformed("its archive has more than %d members", maxMembers)
		}
		switch h.Typeflag {
		case tar.TypeReg:
			offset, err := file.Seek(0, io.SeekCurrent)
			if err != nil {
				return err
			}
			a.members[name] = member{offset: offset, size: h.Size}
		case tar.TypeSymlink: // old `docker save` did so for equal layers
			a.members[name] = member{link: path.Join(path.Dir(name), h.Linkname)}
		case tar.TypeLink:
			a.members[name] = member{link: path.Clean(h.Linkname)}
		}
		return nil
	})
	return a, err
}

// Open implements fs.FS.
func (a *archive) Open(name string) (fs.File, error) {
	at := name
	for range maxHops {
		m, ok := a.members[at]
		if !ok {
			break
		}
		if m.link == "" {
			return &archiveFile{SectionReader: io.NewSectionReader(a.file, m.offset, m.size), name: path.Base(name)}, nil
		}
		at = m.link
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// archiveFile is an open member, and its own fs.FileInfo.
type archiveFile struct {
	*io.SectionReader
	name string
}

func (f *archiveFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *archiveFile) Close() error               { return nil }
func (f *archiveFile) Name() string               { return f.name }
func (f *archiveFile) Mode() fs.FileMode          { return 0o444 }
func (f *archiveFile) ModTime() time.Time         { return time.Time{} }
func (f *archiveFile) IsDir() bool                { return false }
func (f *archiveFile) Sys() any                   { return nil }

// readSmall reads a file that describes others, of at most most bytes.
func readSmall(files fs.FS, name string, most int64) ([]byte, error) {
	if !fs.ValidPath(name) {
		return nil, malformed("it names the file %q", name)
	}
	f, err := files.Open(name)
	if err != nil {
		return nil, missing(name, err)
	}
	defer f.Close() //nolint:errcheck // read only
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(data)) > most {
		return nil, malformed("%s has more than %d bytes", name, most)
	}
	return data, nil
}

// missing is err, or says that the image lacks a file of its own.
func missing(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return malformed("%s is missing", name)
	}
	return fmt.Errorf("open %s: %w", name, err)
}
