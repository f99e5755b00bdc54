package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// spool keeps streams that are read more than once, in a directory of its own.
type spool struct {
	parent string // "" is the system's

	mu    sync.Mutex
	dir   string
	files []*os.File
}

// create returns a new file, which is removed with the spool.
func (s *spool) create() (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" {
		dir, err := os.MkdirTemp(s.parent, "bgrid-image-")
		if err != nil {
			return nil, fmt.Errorf("make temporary directory: %w", err)
		}
		s.dir = dir
	}
	file, err := os.CreateTemp(s.dir, "")
	if err != nil {
		return nil, fmt.Errorf("make temporary file: %w", err)
	}
	s.files = append(s.files, file)
	return file, nil
}

// keep copies a stream into a file.
func (s *spool) keep(ctx context.Context, from io.Reader) (*os.File, error) {
	file, err := s.create()
	if err != nil {
		return nil, err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{file}, &guarded{ctx: ctx, from: from, tell: func(int64) {}}, make([]byte, copyBuffer))
	return file, err
}

// Close removes all files.
func (s *spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, f := range s.files {
		if err := f.Close(); !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	s.files, s.dir = nil, ""
	return errors.Join(errs...)
}
