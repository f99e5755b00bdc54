package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// ReadInputs hashes the named files and directories of the local directory dir
// into an input root, each under the path that it has in dir. The working
// directory is made even when no input lies in it. A path outside of dir is an
// error, and so is one that is not there.
func ReadInputs(ctx context.Context, fn digest.Function, dir string, paths []string, workingDir string) (*Tree, error) {
	base, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	b := NewTreeBuilder(fn)
	for _, p := range paths {
		local := p
		if !filepath.IsAbs(local) {
			local = filepath.Join(base, local)
		}
		as, err := filepath.Rel(base, local)
		if err != nil || leaves(filepath.ToSlash(as)) {
			return nil, fmt.Errorf("input %s: outside of %s: inputs keep their paths relative to it", p, base)
		}
		switch err := b.Add(local, filepath.ToSlash(as)); {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("input %s: no such file or directory", p)
		case err != nil:
			return nil, fmt.Errorf("input %s: %w", p, err)
		}
	}
	if err := b.AddDirectory(workingDir); err != nil {
		return nil, err
	}
	return b.Build(ctx)
}

// ReadPath hashes a local file or directory for an upload. The digest is the
// file's, or that of the directory's root Directory; a symbolic link is followed
// only here, never beneath.
func ReadPath(ctx context.Context, fn digest.Function, local string) (digest.Digest, []Source, error) {
	isDir, err := isDir(local)
	if err != nil {
		return digest.Digest{}, nil, err
	}
	if isDir {
		t, err := ReadDir(ctx, fn, local)
		if err != nil {
			return digest.Digest{}, nil, err
		}
		return t.Root, t.Sources, nil
	}
	s, err := FileSource(fn, local)
	return s.Digest, []Source{s}, err
}
