package cas

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// dataName is the file of a generation that holds the bytes of its larger packs.
const dataName = "DATA"

// dataFile holds packs one after the other. It only grows: each write reserves
// its own range, so that writers do not wait for each other, and one that fails
// leaves a hole to which nothing refers. What a range holds is told by Badger and
// the indexes, and proved by the checksums in it.
type dataFile struct {
	file *os.File
	end  atomic.Int64 // where the next write goes

	step      int64 // bytes for which space is allocated ahead
	allocMu   sync.Mutex
	allocated int64 // up to where; guarded by allocMu
}

// openData opens the data file of a generation, or makes an empty one. What comes
// next goes behind all that is in it. Space is allocated in steps of some bytes.
func openData(dir string, step int64) (*dataFile, error) {
	f, err := os.OpenFile(filepath.Join(dir, dataName), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	d := &dataFile{file: f, step: step, allocated: info.Size()}
	d.end.Store(info.Size())
	return d, nil
}

// mostVectors is the most parts that one system call takes (IOV_MAX).
const mostVectors = 1024

// write appends parts of n bytes altogether, straight from where they lie, and
// returns at which offset. A *FullError when the disk is full. parts are used up.
func (d *dataFile) write(parts [][]byte, n int64) (int64, error) {
	begin := d.end.Add(n) - n
	d.allocate(begin + n)
	at := begin
	for len(parts) > 0 {
		done, err := unix.Pwritev(int(d.file.Fd()), parts[:min(len(parts), mostVectors)], at)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
			return 0, &FullError{Reason: "the disk is full", RetryAfter: retryPause}
		case err != nil:
			return 0, fmt.Errorf("write %s: %w", d.file.Name(), err)
		}
		at += int64(done)
		parts = advance(parts, done)
	}
	return begin, nil
}

// allocate asks the file system for space up to an offset and a step more: blocks
// that lie together, found once instead of with each write. Where that cannot be
// had, writing finds out whether there is space. The file's length stays.
func (d *dataFile) allocate(end int64) {
	if !d.allocMu.TryLock() { // somebody does
		return
	}
	defer d.allocMu.Unlock()
	if end <= d.allocated {
		return
	}
	n := end - d.allocated + d.step
	_ = unix.Fallocate(int(d.file.Fd()), unix.FALLOC_FL_KEEP_SIZE, d.allocated, n)
	d.allocated += n
}

// trim gives back what was allocated and not written. Nobody writes any more.
func (d *dataFile) trim() error {
	info, err := d.file.Stat()
	if err == nil {
		err = d.file.Truncate(info.Size())
	}
	if err != nil {
		return fmt.Errorf("trim %s: %w", d.file.Name(), err)
	}
	return nil
}

// reserve makes sure that nothing is written before an offset: a range that is
// referred to may lie behind the end of the file after a power loss.
func (d *dataFile) reserve(end int64) {
	for {
		have := d.end.Load()
		if have >= end || d.end.CompareAndSwap(have, end) {
			return
		}
	}
}

// read fills p from an offset. errDamaged when the file ends before, or the disk
// cannot read it.
func (d *dataFile) read(p []byte, at int64) error {
	return d.readParts([][]byte{p}, at)
}

// readParts is read into several parts, which are used up.
func (d *dataFile) readParts(parts [][]byte, at int64) error {
	for len(parts) > 0 {
		n, err := pread(int(d.file.Fd()), parts, at)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err == nil && n == 0 || errors.Is(err, unix.EIO):
			return fmt.Errorf("read %s at %d: %w: %w", d.file.Name(), at, errDamaged, cmp.Or(err, io.ErrUnexpectedEOF))
		case err != nil:
			return fmt.Errorf("read %s at %d: %w", d.file.Name(), at, err)
		}
		at += int64(n)
		parts = advance(parts, n)
	}
	return nil
}

// pread is the one system call of the two that needs less.
func pread(fd int, parts [][]byte, at int64) (int, error) {
	if len(parts) == 1 {
		return unix.Pread(fd, parts[0], at)
	}
	return unix.Preadv(fd, parts, at)
}

// advance leaves out the first n bytes of parts.
func advance(parts [][]byte, n int) [][]byte {
	for len(parts) > 0 && n >= len(parts[0]) {
		n -= len(parts[0])
		parts = parts[1:]
	}
	if n > 0 {
		parts[0] = parts[0][n:]
	}
	return parts
}

// sync makes durable what was written before. It uses the descriptor of the
// writers, which alone is told of every error of writing back.
func (d *dataFile) sync() error {
	if err := unix.Fdatasync(int(d.file.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", d.file.Name(), err)
	}
	return nil
}

func (d *dataFile) close() error { return d.file.Close() }
