package runners

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// uploader stores what an action made: small blobs in batches, large ones as
// streams, hashed first.
type uploader struct {
	blobs    Blobs
	function digest.Function
	left     int64 // bytes that the action may still store
	batch    []Blob
	bytes    int64 // in batch
}

func newUploader(blobs Blobs, fn digest.Function, maxBytes int64) *uploader {
	return &uploader{blobs: blobs, function: fn, left: maxBytes}
}

// spend takes size off what the action may store.
func (u *uploader) spend(size int64) error {
	if u.left -= size; u.left < 0 {
		return exhausted("the outputs have more bytes than this worker takes from one action")
	}
	return nil
}

// data stores a blob whose digest is known. It must not be changed any more.
func (u *uploader) data(ctx context.Context, d digest.Digest, data []byte) error {
	if d.IsEmpty() {
		return nil // always there
	}
	if err := u.spend(d.Size); err != nil {
		return err
	}
	if d.Size > MaxSmallBlob {
		open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
		if err := u.blobs.Upload(ctx, d, open); err != nil {
			return fmt.Errorf("store %s: %w", d, err)
		}
		return nil
	}
	if len(u.batch) == maxBatchBlobs || u.bytes+d.Size > maxBatch {
		if err := u.flush(ctx); err != nil {
			return err
		}
	}
	u.batch = append(u.batch, Blob{Digest: d, Data: data})
	u.bytes += d.Size
	return nil
}

// flush stores what is waiting.
func (u *uploader) flush(ctx context.Context) error {
	if len(u.batch) == 0 {
		return nil
	}
	batch := u.batch
	u.batch, u.bytes = nil, 0
	if err := u.blobs.PutMany(ctx, batch); err != nil {
		return fmt.Errorf("store outputs: %w", err)
	}
	return nil
}

// file stores a regular file and returns its digest. st is what was seen of it.
func (u *uploader) file(ctx context.Context, dirfd int, name string, st *unix.Stat_t) (digest.Digest, error) {
	if st.Size == 0 {
		return u.function.Empty(), nil
	}
	if st.Size > u.left {
		return digest.Digest{}, u.spend(st.Size)
	}
	fd, err := openReadable(dirfd, name, st)
	if err != nil {
		return digest.Digest{}, err
	}
	defer unix.Close(fd)
	if st.Size <= MaxSmallBlob {
		data, err := readSmall(fd, st.Size)
		if err != nil {
			return digest.Digest{}, pathError("read", name, err)
		}
		if data != nil {
			d := digest.Of(u.function, data)
			return d, u.data(ctx, d, data)
		}
	}
	return u.stream(ctx, fd, name)
}

// openReadable opens a regular file, and gives its owner the right to read it
// where the action took it away.
func openReadable(dirfd int, name string, st *unix.Stat_t) (int, error) {
	fd, err := openFile(dirfd, name)
	if errors.Is(err, unix.EACCES) {
		if err := unix.Fchmodat(dirfd, name, st.Mode&0o7777|0o400, 0); err != nil {
			return -1, pathError("make readable", name, err)
		}
		fd, err = openFile(dirfd, name)
	}
	return fd, err
}

// readSmall reads a file of size bytes in one call; nil when it is longer now.
func readSmall(fd int, size int64) ([]byte, error) {
	buf := make([]byte, size+1) // the byte too many shows the end without another call
	n := 0
	for {
		k, err := unix.Read(fd, buf[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		n += k
		if n > int(size) {
			return nil, nil
		}
		if n == int(size) || k == 0 {
			return buf[:n:n], nil
		}
	}
}

// stream hashes a file and stores it. Should it change in between, which only
// something outside of the action can do, it is hashed again.
func (u *uploader) stream(ctx context.Context, fd int, name string) (digest.Digest, error) {
	d, err := hashFile(ctx, u.function, fd)
	if err != nil {
		return d, pathError("hash", name, err)
	}
	if err := u.spend(d.Size); err != nil {
		return d, err
	}
	const tries = 3
	for try := 1; ; try++ {
		size := d.Size
		open := func() (io.ReadCloser, error) {
			return io.NopCloser(io.NewSectionReader(fdReaderAt(fd), 0, size)), nil
		}
		err := u.blobs.Upload(ctx, d, open)
		if err == nil {
			return d, nil
		}
		now, hashErr := hashFile(ctx, u.function, fd)
		if hashErr != nil || now == d || try == tries {
			return d, fmt.Errorf("store %s: %w", name, err)
		}
		d = now
	}
}

// hashBuffers are shared by all that hash files.
var hashBuffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

func hashFile(ctx context.Context, fn digest.Function, fd int) (digest.Digest, error) {
	buf := hashBuffers.Get().(*[]byte)
	defer hashBuffers.Put(buf)
	h := fn.New()
	var size int64
	for {
		if err := ctx.Err(); err != nil {
			return digest.Digest{}, err
		}
		n, err := fdReaderAt(fd).ReadAt(*buf, size)
		if err != nil && !errors.Is(err, io.EOF) {
			return digest.Digest{}, err
		}
		h.Write((*buf)[:n])
		size += int64(n)
		if err != nil {
			return digest.FromHash(fn, h, size), nil
		}
	}
}

// fdReaderAt reads from a file descriptor that others close.
type fdReaderAt int

func (fd fdReaderAt) ReadAt(b []byte, off int64) (int, error) {
	done := 0
	for done < len(b) {
		n, err := unix.Pread(int(fd), b[done:], off+int64(done))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, os.NewSyscallError("pread", err)
		}
		if n == 0 {
			return done, io.EOF
		}
		done += n
	}
	return done, nil
}
