package images

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// What is held of files on their way to the server, in bytes and numbers. A batch is
// read while the one before is sent, so twice this much is held.
const (
	maxInMemory   = 1 << 20 // a larger file goes through a temporary one
	batchMemory   = 8 << 20
	batchTempDisk = 256 << 20
	batchBlobs    = 2000
)

// PushStats say what a push did.
type PushStats struct {
	Stats
	client.UploadStats // blobs with the Directory messages
}

// Push uploads the image's tree and returns the digest of its root Directory, which
// is that of Build's result when it is uploaded. Nothing is unpacked to the disk: the
// layers are read once for the digests, and those that have what the server lacks
// once more for that. Files above 1 MiB go through a temporary file.
func (im *Image) Push(ctx context.Context, c *client.Client) (digest.Digest, PushStats, error) {
	var stats PushStats
	t, err := im.model(ctx, c.Function(), true)
	if err != nil {
		return digest.Digest{}, stats, err
	}
	p, err := t.plan()
	if err != nil {
		return digest.Digest{}, stats, err
	}
	stats.Stats = p.stats
	root, dirs, err := fold(c.Function(), t.root, nil)
	if err != nil {
		return digest.Digest{}, stats, err
	}
	lacks, err := p.missing(ctx, c, dirs, &stats.UploadStats)
	if err != nil {
		return digest.Digest{}, stats, err
	}
	u := &uploader{c: c, progress: im.progress.beginUpload(stats.SentBlobs, stats.SentBytes), tempDir: im.tempDir}
	err = u.contents(ctx, im, p, lacks)
	if err == nil {
		err = u.directories(ctx, dirs, lacks)
	}
	return root, stats, err
}

// missing asks for every blob of the tree, and counts.
func (p *plan) missing(ctx context.Context, c *client.Client, dirs []client.Source, stats *client.UploadStats) (map[digest.Digest]bool, error) {
	seen := map[digest.Digest]bool{}
	var all []digest.Digest
	add := func(d digest.Digest) {
		if !seen[d] {
			seen[d] = true
			all = append(all, d)
			stats.Blobs++
			stats.Bytes += d.Size
		}
	}
	for _, s := range dirs {
		add(s.Digest)
	}
	for _, layer := range p.files {
		for _, f := range layer {
			add(f.digest)
		}
	}
	missing, err := c.FindMissing(ctx, all)
	if err != nil {
		return nil, err
	}
	lacks := make(map[digest.Digest]bool, len(missing))
	for _, d := range missing {
		lacks[d] = true
		stats.SentBlobs++
		stats.SentBytes += d.Size
	}
	return lacks, nil
}

// uploader sends files in batches, each while the next one is read.
type uploader struct {
	c        *client.Client
	progress *client.Progress
	tempDir  string
	buffer   []byte

	batch        []client.Source
	files        *spool // the large ones of the batch; nil when there are none
	memory, disk int64  // bytes of the batch
}

// contents uploads what lacks has of the files, and takes it out of lacks.
func (u *uploader) contents(ctx context.Context, im *Image, p *plan, lacks map[digest.Digest]bool) (err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(1)
	u.buffer = make([]byte, copyBuffer)
	for number := range im.layers {
		wanted := p.wanted(number+1, lacks)
		if len(wanted) == 0 {
			continue
		}
		err = im.layers[number].read(ctx, &budget{}, nil, func(r io.Reader) error {
			return eachMember(r, func(index int, _ *tar.Header, content io.Reader) error {
				if f := wanted[index]; f != nil {
					delete(wanted, index)
					if err := u.add(f, content); err != nil {
						return err
					}
					u.flush(ctx, group, false)
				}
				if len(wanted) == 0 {
					return errEnough
				}
				return ctx.Err()
			})
		})
		if err != nil {
			break
		}
	}
	if err == nil {
		u.flush(ctx, group, true)
	}
	if waitErr := group.Wait(); waitErr != nil {
		err = waitErr // the reading ended because of it
	}
	if u.files != nil {
		_ = u.files.Close()
	}
	return err
}

// wanted returns the files of a layer whose content is missing, each content once.
func (p *plan) wanted(layer int, lacks map[digest.Digest]bool) map[int]*plannedFile {
	wanted := map[int]*plannedFile{}
	for index, f := range p.files[layer] {
		if lacks[f.digest] {
			wanted[index] = f
			delete(lacks, f.digest)
		}
	}
	return wanted
}

// add takes a file into the batch.
func (u *uploader) add(f *plannedFile, content io.Reader) error {
	if f.size > maxInMemory {
		return u.addLarge(f, content)
	}
	data := make([]byte, f.size)
	if _, err := io.ReadFull(content, data); err != nil {
		return fmt.Errorf("read %s: %w", f.paths[0], err)
	}
	s := client.Blob(f.digest.Function, data)
	u.memory += f.size
	return u.take(f, s)
}

func (u *uploader) addLarge(f *plannedFile, content io.Reader) error {
	if u.files == nil {
		u.files = &spool{parent: u.tempDir}
	}
	file, err := u.files.create()
	if err != nil {
		return err
	}
	h := f.digest.Function.New()
	n, err := io.CopyBuffer(io.MultiWriter(file, h), struct{ io.Reader }{content}, u.buffer)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("read %s: %w", f.paths[0], err)
	}
	u.disk += n
	return u.take(f, client.Source{Digest: digest.FromHash(f.digest.Function, h, n), Path: file.Name()})
}

func (u *uploader) take(f *plannedFile, s client.Source) error {
	if s.Digest != f.digest {
		return fmt.Errorf("read %s: %w", f.paths[0], client.ErrChanged)
	}
	u.batch = append(u.batch, s)
	return nil
}

// flush sends the batch when it is large enough, or in any case, after the one
// before.
func (u *uploader) flush(ctx context.Context, group *errgroup.Group, all bool) {
	full := u.memory >= batchMemory || u.disk >= batchTempDisk || len(u.batch) >= batchBlobs
	if len(u.batch) == 0 || !all && !full {
		return
	}
	batch, files := u.batch, u.files
	u.batch, u.files, u.memory, u.disk = nil, nil, 0, 0
	group.Go(func() error {
		if files != nil {
			defer func() { _ = files.Close() }()
		}
		_, err := u.c.Upload(ctx, batch, u.progress)
		return err
	})
}

// directories uploads the messages that lacks has, after all that they name.
func (u *uploader) directories(ctx context.Context, dirs []client.Source, lacks map[digest.Digest]bool) error {
	dirs = slices.DeleteFunc(dirs, func(s client.Source) bool { return !lacks[s.Digest] })
	_, err := u.c.Upload(ctx, dirs, u.progress)
	return err
}
