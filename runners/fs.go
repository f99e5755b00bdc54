package runners

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// What follows is a thin layer over system calls relative to a directory's file
// descriptor. Paths in it are clean, relative, and made of validated names.

const (
	modeFile = 0o644
	modeExec = 0o755
	modeDir  = 0o755
)

// createFile makes a file that must not be there yet. Whatever its mode, it can be
// read through the descriptor, too.
func createFile(dirfd int, rel string, mode uint32) (int, error) {
	const flags = unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	for {
		fd, err := unix.Openat(dirfd, rel, flags, mode)
		if err != unix.EINTR {
			return fd, pathError("create", rel, err)
		}
	}
}

// openFile opens for reading what must be there; it neither follows a link nor
// waits for the other end of a pipe.
func openFile(dirfd int, rel string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	for {
		fd, err := unix.Openat(dirfd, rel, flags, 0)
		if err != unix.EINTR {
			return fd, pathError("open", rel, err)
		}
	}
}

// openDir opens a directory as a place to start from.
func openDir(dirfd int, rel string) (int, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	for {
		fd, err := unix.Openat(dirfd, rel, flags, 0)
		if err != unix.EINTR {
			return fd, pathError("open", rel, err)
		}
	}
}

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// errEscape says that a path leads out of the directory that it must stay in.
var errEscape = errors.New("the path leads out of the input root")

// openBeneath opens rel, "" for the directory itself, whatever links lie on the
// way as long as none leads out of dirfd. The last component is not followed
// when flags say so.
func openBeneath(dirfd int, rel string, flags int) (int, error) {
	if rel == "" {
		rel = "."
	}
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	}
	for {
		fd, err := unix.Openat2(dirfd, rel, &how)
		switch err {
		case unix.EINTR, unix.EAGAIN:
		case unix.EXDEV:
			return -1, fmt.Errorf("open %s: %w", rel, errEscape)
		case unix.ENOSYS, unix.EPERM: // an old kernel, or a filter that does not know the call
			return openWithoutLinks(dirfd, rel, flags)
		default:
			return fd, pathError("open", rel, err)
		}
	}
}

// openWithoutLinks opens rel component by component and follows no link at all.
func openWithoutLinks(dirfd int, rel string, flags int) (int, error) {
	at := dirfd
	closeAt := func() {
		if at != dirfd {
			unix.Close(at)
		}
	}
	for {
		name, rest := firstComponent(rel)
		if rest == "" {
			fd, err := unix.Openat(at, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			closeAt()
			return fd, pathError("open", rel, err)
		}
		next, err := openDir(at, name)
		closeAt()
		if err != nil {
			if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
				return -1, fmt.Errorf("open %s: %w", rel, errEscape)
			}
			return -1, err
		}
		at, rel = next, rest
	}
}

func firstComponent(p string) (name, rest string) {
	for i := range len(p) {
		if p[i] == '/' {
			return p[:i], p[i+1:]
		}
	}
	return p, ""
}

// setProps gives an open file its node properties.
func setProps(fd int, p props) error {
	if p.hasMode {
		if err := unix.Fchmod(fd, p.mode&0o777); err != nil {
			return fmt.Errorf("set mode: %w", err)
		}
	}
	if !p.mtime.IsZero() {
		if err := setTimes(fd, "", p.mtime, unix.AT_EMPTY_PATH); err != nil {
			return err
		}
	}
	return nil
}

// setTimes sets a modification time and leaves the access time alone.
func setTimes(dirfd int, rel string, mtime time.Time, flags int) error {
	ts := []unix.Timespec{
		{Nsec: unix.UTIME_OMIT},
		{Sec: mtime.Unix(), Nsec: int64(mtime.Nanosecond())},
	}
	return pathError("set mtime of", rel, unix.UtimesNanoAt(dirfd, rel, ts, flags))
}

func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: path, Err: err}
}
