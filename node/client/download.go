package client

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// DownloadStats says what a download brought.
type DownloadStats struct {
	Files, Directories, Symlinks int
	Bytes                        int64 // that were transferred
}

// DownloadTree lays the Directory root and all beneath it out in the local
// directory dir, which is made where it is not there. What is in the way is
// replaced, other entries stay. Nothing is ever written outside of dir, whatever
// the tree says and whatever links dir holds; a tree that is not well formed is
// ErrMalformed before anything is written.
func (c *Client) DownloadTree(ctx context.Context, root digest.Digest, dir string, p *Progress) (DownloadStats, error) {
	dirs, err := c.GetTree(ctx, root)
	if err != nil {
		return DownloadStats{}, err
	}
	pl := newPlan()
	if err := pl.addTree(".", root, dirs); err != nil {
		return DownloadStats{}, err
	}
	return c.carryOut(ctx, pl, dir, p)
}

// DownloadFile writes the blob d to the local file at path, which it replaces
// when all of it has arrived.
func (c *Client) DownloadFile(ctx context.Context, d digest.Digest, path string, p *Progress) error {
	p.plan(1, d.Size)
	dir, name := splitPath(path)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // nothing is buffered
	if err := c.fetchFile(ctx, root, d, plannedFile{path: name}, p); err != nil {
		return err
	}
	p.finished(1)
	return nil
}

// carryOut makes what the plan says in the local directory dir: directories,
// then files, then links, so that no file is written through a link of the tree.
func (c *Client) carryOut(ctx context.Context, pl *plan, dir string, p *Progress) (DownloadStats, error) {
	stats := DownloadStats{Directories: len(pl.dirs), Symlinks: len(pl.links), Bytes: pl.bytes}
	for _, files := range pl.files {
		stats.Files += len(files)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return stats, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return stats, err
	}
	defer root.Close() //nolint:errcheck // nothing is buffered
	for _, d := range pl.dirs {
		if err := makeDir(root, d); err != nil {
			return stats, err
		}
	}
	if err := c.fetchFiles(ctx, root, pl, p); err != nil {
		return stats, err
	}
	for _, l := range pl.links {
		if err := placeLink(root, l); err != nil {
			return stats, err
		}
	}
	for i := len(pl.dirs) - 1; i >= 0; i-- {
		if err := pl.dirs[i].properties.apply(root, pl.dirs[i].path); err != nil {
			return stats, err
		}
	}
	return stats, nil
}

// fetchFiles brings each distinct file once and puts it into all its places.
func (c *Client) fetchFiles(ctx context.Context, root *os.Root, pl *plan, p *Progress) error {
	limit, err := c.batchLimit(ctx)
	if err != nil {
		return err
	}
	p.plan(int64(len(pl.order)), pl.bytes)
	wanted := make([]digest.Digest, 0, len(pl.order))
	for _, d := range pl.order {
		if !d.IsEmpty() {
			wanted = append(wanted, d)
			continue
		}
		if err := placeAll(root, pl.files[d], nil); err != nil {
			return err
		}
		p.finished(1)
	}
	batches, large := pack(wanted, limit, c.batchOverhead())
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(cap(c.transfers))
	for _, d := range large {
		group.Go(func() error { return c.fetchLarge(ctx, root, d, pl.files[d], p) })
	}
	for _, batch := range batches {
		group.Go(func() error {
			return c.fetchBatch(ctx, batch, func(d digest.Digest, data []byte) error {
				p.moved(d.Size)
				p.finished(1)
				return placeAll(root, pl.files[d], data)
			})
		})
	}
	return group.Wait()
}

// fetchLarge streams one blob to its first place and copies it to the others.
func (c *Client) fetchLarge(ctx context.Context, root *os.Root, d digest.Digest, files []plannedFile, p *Progress) error {
	if err := c.fetchFile(ctx, root, d, files[0], p); err != nil {
		return err
	}
	p.finished(1)
	for _, f := range files[1:] {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := placeStream(root, f, func(w io.Writer) error {
			first, err := root.Open(files[0].path)
			if err != nil { // its own mode may forbid it
				return c.fetch(ctx, d, w, nil)
			}
			defer first.Close() //nolint:errcheck // read only
			_, err = io.Copy(w, first)
			return err
		})
		if err != nil {
			return fmt.Errorf("copy %s: %w", f.path, err)
		}
	}
	return nil
}

func (c *Client) fetchFile(ctx context.Context, root *os.Root, d digest.Digest, f plannedFile, p *Progress) error {
	return placeStream(root, f, func(w io.Writer) error { return c.fetch(ctx, d, w, p) })
}
