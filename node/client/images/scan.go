package images

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// scanner reads layers into entries.
type scanner struct {
	limit *budget
	fn    digest.Function
	hash  bool // digests of the files are wanted
}

// copyBuffer is what is read of a file at a time, in bytes.
const copyBuffer = 256 << 10

// scan reads one layer's archive.
func (s *scanner) scan(r io.Reader) ([]entry, error) {
	var all []entry
	var buffer []byte
	if s.hash {
		buffer = make([]byte, copyBuffer)
	}
	err := eachMember(r, func(index int, h *tar.Header, content io.Reader) error {
		e, keep, err := parseHeader(h)
		if err != nil || !keep {
			return err
		}
		e.index = index
		if err := s.limit.enter(&e); err != nil {
			return err
		}
		if s.hash && e.kind == fileKind {
			if e.digest, err = hashContent(s.fn, &e, content, buffer); err != nil {
				return err
			}
		}
		all = append(all, e)
		return nil
	})
	return all, err
}

// eachMember hands each member of an archive to do, counted from 0.
func eachMember(r io.Reader, do func(index int, h *tar.Header, content io.Reader) error) error {
	archive := tar.NewReader(r)
	for index := 0; ; index++ {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) {
			return malformed("read its archive: %w", err)
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if err := do(index, h, archive); err != nil {
			return err
		}
	}
}

func hashContent(fn digest.Function, e *entry, content io.Reader, buffer []byte) (digest.Digest, error) {
	h := fn.New()
	size, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{content}, buffer)
	if err != nil {
		return digest.Digest{}, fmt.Errorf("read %q: %w", e.path, err)
	}
	if size != e.size {
		return digest.Digest{}, malformed("%q has %d bytes, and not %d as its header says", e.path, size, e.size)
	}
	return digest.FromHash(fn, h, size), nil
}

// model reads all layers, a few at a time, and applies them.
func (im *Image) model(ctx context.Context, fn digest.Function, hash bool) (*tree, error) {
	im.progress.begin("read", "layers", int64(len(im.layers)), im.stored())
	s := &scanner{limit: &budget{}, fn: fn, hash: hash}
	entries := make([][]entry, len(im.layers))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce())
	for i := range im.layers {
		group.Go(func() error {
			err := im.layers[i].read(groupCtx, s.limit, im.progress, func(r io.Reader) (err error) {
				entries[i], err = s.scan(r)
				return err
			})
			im.progress.finish(1)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return merge(im.layers, entries)
}

// merge applies the entries of the layers, which it lets go one by one.
func merge(layers []*layer, entries [][]entry) (*tree, error) {
	t := newTree()
	for i := range entries {
		for j := range entries[i] {
			if err := t.apply(i+1, &entries[i][j]); err != nil {
				return nil, fmt.Errorf("%s: %w", layers[i].name, err)
			}
		}
		entries[i] = nil
	}
	return t, nil
}

// atOnce is how many layers are read at the same time.
func atOnce() int { return min(runtime.GOMAXPROCS(0), 4) }
