package engine

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// ErrHeld means that another process, or another part of this one, has the lock.
var ErrHeld = errors.New("the lock is held")

// Lock keeps a directory to one user. The kernel frees it when the process ends,
// however it ends.
type Lock struct{ f *os.File }

// Acquire takes the lock file at path, creating it when it is not there. It does
// not wait: ErrHeld.
func Acquire(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrHeld
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Lock{f}, nil
}

// Release gives the lock back. Closing the file alone would not free it while
// another goroutine starts a process: between fork and exec, that has the file open
// as well.
func (l *Lock) Release() error {
	return errors.Join(unix.Flock(int(l.f.Fd()), unix.LOCK_UN), l.f.Close())
}
