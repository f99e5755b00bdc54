package runners

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// fetchers bounds the batches and large files that one action fetches at a time,
// and with it the memory that it takes: as many times maxBatch.
const fetchers = 3

// fetchPending fetches the files on the list, each content once. All that are
// missing are named.
func (s *stager) fetchPending(ctx context.Context) error {
	if len(s.pending) == 1 && s.pending[0].node.digest.Size <= MaxSmallBlob {
		return s.fetchBatch(ctx, []digest.Digest{s.pending[0].node.digest}, func(digest.Digest) []pendingFile { return s.pending })
	}
	places := make(map[digest.Digest][]pendingFile, len(s.pending))
	order := make([]digest.Digest, 0, len(s.pending))
	for _, f := range s.pending {
		d := f.node.digest
		if _, ok := places[d]; !ok {
			order = append(order, d)
		}
		places[d] = append(places[d], f)
	}
	var lost missingBlobs
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(fetchers)
	fetch := func(job func() error) {
		if ctx.Err() == nil && !lost.full() {
			group.Go(func() error { return lost.collect(job()) })
		}
	}
	batch, bytes := []digest.Digest(nil), int64(0)
	flush := func() {
		if ready := batch; len(ready) > 0 {
			fetch(func() error {
				return s.fetchBatch(ctx, ready, func(d digest.Digest) []pendingFile { return places[d] })
			})
		}
		batch, bytes = nil, 0
	}
	for _, d := range order {
		if d.Size > MaxSmallBlob {
			fetch(func() error { return s.fetchLarge(ctx, d, places[d]) })
			continue
		}
		if len(batch) == maxBatchBlobs || bytes+d.Size > maxBatch {
			flush()
		}
		batch, bytes = append(batch, d), bytes+d.Size
	}
	flush()
	if err := group.Wait(); err != nil {
		return err
	}
	return lost.err()
}

// missingBlobs gathers MissingErrors.
type missingBlobs struct {
	mu   sync.Mutex
	list []digest.Digest
}

// collect takes a *MissingError in and returns every other error.
func (m *missingBlobs) collect(err error) error {
	lost, ok := errors.AsType[*MissingError](err)
	if !ok {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, lost.Digests...)
	return nil
}

func (m *missingBlobs) full() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.list) >= maxViolations
}

func (m *missingBlobs) err() error {
	if len(m.list) == 0 {
		return nil
	}
	return &MissingError{Digests: m.list}
}

// fetchBatch fetches small files and lays each out at its places.
func (s *stager) fetchBatch(ctx context.Context, ds []digest.Digest, places func(digest.Digest) []pendingFile) error {
	blobs, err := s.w.getBatch(ctx, ds)
	if err != nil {
		return err
	}
	for i, d := range ds {
		s.w.files.addSmall(d, blobs[i])
		if s.w.files.wants(d) {
			s.keep(d, func(fd int) error { return writeAll(fd, blobs[i]) })
		}
		for _, f := range places(d) {
			if err := s.w.writeInput(s.dirfd, f.path, f.node, blobs[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// keep puts a file into the cache; that it cannot is no reason to fail.
func (s *stager) keep(d digest.Digest, fill func(fd int) error) {
	err := s.w.files.add(d, fill)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		s.w.files.makeRoom()
	} else if err != nil && !errors.Is(err, context.Canceled) {
		s.w.log.Warn("keep input file", "digest", d.String(), "error", err)
	}
}

// fetchLarge streams one file to all its places.
func (s *stager) fetchLarge(ctx context.Context, d digest.Digest, places []pendingFile) error {
	for i, f := range places {
		ok, err := false, error(nil)
		if i > 0 {
			ok, err = s.copyPlace(places[0], f)
		}
		if err == nil && !ok {
			err = s.streamTo(ctx, f, i == 0 && s.w.files.wants(d))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// streamTo streams a file to its place, and puts a copy into the cache when keep
// is set.
func (s *stager) streamTo(ctx context.Context, f pendingFile, keep bool) error {
	fd, err := s.w.createInput(s.dirfd, f.path, f.node)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	d := f.node.digest
	if err := s.stream(ctx, fd, d); err != nil {
		return err
	}
	if keep {
		s.keep(d, func(to int) error {
			if _, err := unix.Seek(fd, 0, io.SeekStart); err != nil {
				return err
			}
			return s.w.files.copier.copy(to, fd, d.Size)
		})
	}
	return setProps(fd, f.node.props)
}

// copyPlace lays out a file again that is laid out elsewhere already. It is no
// error that it cannot be read there, its mode may forbid it.
func (s *stager) copyPlace(from, to pendingFile) (bool, error) {
	src, err := openFile(s.dirfd, from.path)
	if err != nil {
		return false, nil
	}
	defer unix.Close(src)
	dst, err := s.w.createInput(s.dirfd, to.path, to.node)
	if err != nil {
		return false, err
	}
	defer unix.Close(dst)
	if err := s.w.files.copier.copy(dst, src, to.node.digest.Size); err != nil {
		return false, err
	}
	return true, setProps(dst, to.node.props)
}

// stream writes a blob to a file.
func (s *stager) stream(ctx context.Context, fd int, d digest.Digest) error {
	r, err := s.w.blobs.Open(ctx, d)
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.Copy(fdWriter(fd), r)
	if err != nil {
		return fmt.Errorf("write input file %s: %w", d, err)
	}
	if n != d.Size {
		return fmt.Errorf("write input file %s: %d bytes came", d, n)
	}
	return nil
}

// fdWriter writes to a file descriptor that others close.
type fdWriter int

func (fd fdWriter) Write(b []byte) (int, error) {
	if err := writeAll(int(fd), b); err != nil {
		return 0, err
	}
	return len(b), nil
}
