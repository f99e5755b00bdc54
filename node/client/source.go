package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Source is a blob to upload: its digest, and its content in memory, in a file, or
// from elsewhere.
type Source struct {
	Digest digest.Digest
	Data   []byte // content in memory; when nil, that of Open or else of the file
	Path   string
	// Open returns the content from its start, again and again.
	Open func() (io.ReadSeekCloser, error)
}

// Blob is a Source of content in memory.
func Blob(fn digest.Function, data []byte) Source {
	if data == nil {
		data = []byte{}
	}
	return Source{Digest: digest.Of(fn, data), Data: data}
}

// FileSource hashes the file at path, 256 KiB at a time.
func FileSource(fn digest.Function, path string) (Source, error) {
	f, err := os.Open(path)
	if err != nil {
		return Source{}, err
	}
	defer f.Close() //nolint:errcheck // read only
	h := fn.New()
	size, err := io.CopyBuffer(struct{ io.Writer }{h}, f, make([]byte, 256<<10))
	if err != nil {
		return Source{}, fmt.Errorf("hash %s: %w", path, err)
	}
	return Source{Digest: digest.FromHash(fn, h, size), Path: path}, nil
}

// open returns the content from its start.
func (s Source) open() (io.ReadSeekCloser, error) {
	if s.Data != nil {
		return nopCloser{bytes.NewReader(s.Data)}, nil
	}
	if s.Open != nil {
		return s.Open()
	}
	return os.Open(s.Path)
}

// read returns the whole content and checks that it is still the digest's.
func (s Source) read() ([]byte, error) {
	if s.Data != nil {
		return s.Data, nil
	}
	f, err := s.open()
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	data := make([]byte, s.Digest.Size, s.Digest.Size+1)
	if _, err := io.ReadFull(f, data); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = ErrChanged
		}
		return nil, fmt.Errorf("read %s: %w", s.name(), err)
	}
	if digest.Of(s.Digest.Function, data) != s.Digest {
		return nil, fmt.Errorf("read %s: %w", s.name(), ErrChanged)
	}
	return data, nil
}

// changed tells whether a file no longer has the content that was hashed.
func (s Source) changed() bool {
	if s.Data != nil || s.Open != nil { // of Open nobody here can tell
		return false
	}
	now, err := FileSource(s.Digest.Function, s.Path)
	return err != nil || now.Digest != s.Digest
}

// name is what to call the source in an error.
func (s Source) name() string {
	if s.Path != "" {
		return s.Path
	}
	return s.Digest.String()
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }
