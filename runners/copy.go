package runners

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// copier copies files within one file system, sharing their blocks where it can.
type copier struct {
	reflink bool // FICLONE works here
}

// probeCopier finds out what the file system of the directory can do.
func probeCopier(dirfd int) copier {
	const from, to = "probe-from", "probe-to"
	defer unix.Unlinkat(dirfd, from, 0)
	defer unix.Unlinkat(dirfd, to, 0)
	src, err := createFile(dirfd, from, modeFile)
	if err != nil {
		return copier{}
	}
	defer unix.Close(src)
	if writeAll(src, make([]byte, 4096)) != nil {
		return copier{}
	}
	in, err := openFile(dirfd, from)
	if err != nil {
		return copier{}
	}
	defer unix.Close(in)
	dst, err := createFile(dirfd, to, modeFile)
	if err != nil {
		return copier{}
	}
	defer unix.Close(dst)
	return copier{reflink: unix.IoctlFileClone(dst, in) == nil}
}

// copy fills the empty file dst with the size bytes of src.
func (c copier) copy(dst, src int, size int64) error {
	if c.reflink && unix.IoctlFileClone(dst, src) == nil {
		return nil
	}
	var done int64
	for done < size {
		n, err := unix.CopyFileRange(src, nil, dst, nil, int(min(size-done, 1<<30)), 0)
		switch {
		case err == unix.EINTR:
		case err == unix.EXDEV || err == unix.EINVAL || err == unix.ENOSYS || err == unix.EOPNOTSUPP || err == unix.EPERM:
			if done > 0 {
				return fmt.Errorf("copy file: %w", err)
			}
			return copyByHand(dst, src, size)
		case err != nil:
			return fmt.Errorf("copy file: %w", err)
		case n == 0:
			return errors.New("copy file: it is shorter than it should be")
		default:
			done += int64(n)
		}
	}
	return nil
}

func copyByHand(dst, src int, size int64) error {
	buf := make([]byte, min(size, 256<<10))
	for size > 0 {
		n, err := unix.Read(src, buf)
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			return errors.New("copy file: it is shorter than it should be")
		}
		if err == nil {
			err = writeAll(dst, buf[:n])
		}
		if err != nil {
			return fmt.Errorf("copy file: %w", err)
		}
		size -= int64(n)
	}
	return nil
}
