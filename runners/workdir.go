package runners

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// What is in a worker's directory.
const (
	lockName   = "lock"   // held while a worker uses the directory
	cacheName  = "cache"  // input files
	treesName  = "trees"  // directory trees that actions share
	rootsName  = "roots"  // input roots, by number
	outputName = "output" // stdout and stderr of what runs, a pair a place
	trashName  = "trash"  // what is being removed
)

// workDir is a worker's directory. It belongs to this process until close.
type workDir struct {
	path    string // absolute
	lock    *os.File
	rootsfd int
	number  atomic.Int64 // of the last input root
	outputs atomic.Int64 // of the last place
	trash   *remover
	log     *slog.Logger
}

// openWorkDir makes the directory an empty one. What was in it is moved aside,
// where the remover finds it.
func openWorkDir(dir string, slots int, log *slog.Logger) (*workDir, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find work directory: %w", err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make work directory: %w", err)
	}
	d := &workDir{path: path, rootsfd: -1, log: log}
	if d.lock, err = lockDir(path); err != nil {
		return nil, err
	}
	if err := d.prepare(slots); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock work directory: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("the work directory %s is in use by another worker", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// CheckUnused returns an error when a worker uses the directory, which need not
// exist. A runner asks before it ends what an earlier life left: that life must
// be over.
func CheckUnused(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, lockName)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	f, err := lockDir(dir)
	if err != nil {
		return err
	}
	return unlockDir(f)
}

// unlockDir frees the lock at once: closing the file alone would not, while another
// goroutine starts a process, which has the file open between fork and exec.
func unlockDir(f *os.File) error {
	return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_UN), f.Close())
}

func (d *workDir) prepare(slots int) error {
	trash := filepath.Join(d.path, trashName)
	if err := os.MkdirAll(trash, 0o700); err != nil {
		return fmt.Errorf("prepare work directory: %w", err)
	}
	suffix := "." + strconv.FormatInt(time.Now().UnixNano(), 36)
	for _, name := range []string{cacheName, treesName, rootsName, outputName} {
		old := filepath.Join(d.path, name)
		if err := os.Rename(old, filepath.Join(trash, name+suffix)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("set aside %s: %w", name, err)
		}
	}
	for _, name := range []string{rootsName, outputName} {
		if err := os.Mkdir(filepath.Join(d.path, name), 0o700); err != nil {
			return fmt.Errorf("prepare work directory: %w", err)
		}
	}
	var err error
	if d.rootsfd, err = openDir(unix.AT_FDCWD, filepath.Join(d.path, rootsName)); err != nil {
		return fmt.Errorf("prepare work directory: %w", err)
	}
	const share = 8 // removing takes a part of what laying out took
	d.trash, err = newRemover(trash, 1+slots/share, d.log)
	return err
}

// close waits until all that was discarded is removed; what an earlier life left
// may stay for the next.
func (d *workDir) close() error {
	if d.trash != nil {
		d.trash.close()
	}
	if d.rootsfd >= 0 {
		unix.Close(d.rootsfd)
	}
	return unlockDir(d.lock)
}

// inputRoot is a directory for one action.
type inputRoot struct {
	dir  *workDir
	name string // in the directory of input roots
	path string // absolute
	fd   int    // O_PATH
}

// newRoot makes an empty input root.
func (d *workDir) newRoot() (*inputRoot, error) {
	name := strconv.FormatInt(d.number.Add(1), 10)
	if err := mkdir(d.rootsfd, name); err != nil {
		return nil, fmt.Errorf("make input root: %w", err)
	}
	r := &inputRoot{dir: d, name: name, path: filepath.Join(d.path, rootsName, name), fd: -1}
	fd, err := openDir(d.rootsfd, name)
	if err != nil {
		d.discard(r)
		return nil, fmt.Errorf("open input root: %w", err)
	}
	r.fd = fd
	return r, nil
}

// open gives the owner his rights back where the action, or a node property, took
// them from the input root itself.
func (r *inputRoot) open() error {
	var st unix.Stat_t
	if err := unix.Fstat(r.fd, &st); err != nil {
		return fmt.Errorf("look at input root: %w", err)
	}
	if st.Mode&0o700 == 0o700 {
		return nil
	}
	if err := unix.Chmod(r.descriptor(), st.Mode&0o7777|0o700); err != nil { // by its name it may be another
		return fmt.Errorf("make input root readable: %w", err)
	}
	return nil
}

// descriptor is a path to the directory, wherever it is.
func (r *inputRoot) descriptor() string { return "/proc/self/fd/" + strconv.Itoa(r.fd) }

// discard hands an input root to the remover, and whatever else has its name: an
// action without a sandbox can have moved it.
func (d *workDir) discard(r *inputRoot) {
	if r.fd >= 0 {
		if r.moved() {
			d.trash.addMoved(r.descriptor())
		}
		unix.Close(r.fd)
	}
	d.trash.add(d.rootsfd, r.name)
}

func (r *inputRoot) moved() bool {
	var here, there unix.Stat_t
	if unix.Fstat(r.fd, &here) != nil {
		return false
	}
	err := unix.Fstatat(r.dir.rootsfd, r.name, &there, unix.AT_SYMLINK_NOFOLLOW)
	return err != nil || here.Dev != there.Dev || here.Ino != there.Ino
}
