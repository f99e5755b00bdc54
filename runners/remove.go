package runners

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// remover removes directory trees in the background: those that are handed to
// it, and beside them what was in its own directory when it started. Its
// directory also takes what is too deep to be removed in place.
//
// What it removes was made by actions, so it never follows a link nor goes into
// another file system that was mounted there, and takes back the rights that an
// action took from its owner.
type remover struct {
	dirfd   int
	queue   chan doomed
	workers sync.WaitGroup
	closing chan struct{} // ends the removal of old trees, which can wait
	moved   atomic.Int64
	life    string // tells the names of this life's moved trees from others'
	log     *slog.Logger
}

type doomed struct {
	dirfd int
	name  string
}

const (
	// removeQueue bounds what waits to be removed: beyond, those who add wait.
	removeQueue = 256
	// removeDepth bounds the directories that are open at a time.
	removeDepth = 100
)

var errClosing = errors.New("left for the next start")

// newRemover starts as many goroutines as workers says, and one for what is in
// dir.
func newRemover(dir string, workers int, log *slog.Logger) (*remover, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open trash: %w", pathError("open", dir, err))
	}
	old, err := namesOf(fd)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("list trash: %w", err)
	}
	r := &remover{
		dirfd: fd, queue: make(chan doomed, removeQueue), closing: make(chan struct{}), log: log,
		life: strconv.FormatInt(time.Now().UnixNano(), 36),
	}
	for range workers {
		r.workers.Go(func() {
			for d := range r.queue {
				r.remove(d, nil)
			}
		})
	}
	r.workers.Go(func() {
		for _, name := range old {
			r.remove(doomed{fd, name}, r.closing)
		}
	})
	return r, nil
}

// add hands over a tree. It blocks while too much waits.
func (r *remover) add(dirfd int, name string) { r.queue <- doomed{dirfd, name} }

// addMoved hands over a directory that only a descriptor leads to, by its path in
// /proc. What is in another file system by now is a copy, and stays.
func (r *remover) addMoved(descriptor string) {
	path, err := os.Readlink(descriptor)
	if err != nil || !filepath.IsAbs(path) {
		return
	}
	_ = unix.Chmod(descriptor, 0o700) // without the right to write it has to keep its parent
	name := r.newName()
	switch err := unix.Renameat(unix.AT_FDCWD, path, r.dirfd, name); {
	case err == nil:
		r.add(r.dirfd, name)
	case !errors.Is(err, unix.ENOENT): // that one is removed already
		r.log.Warn("remove an input root that its action moved", "path", path, keyError, err)
	}
}

// newName makes a name in the remover's own directory.
func (r *remover) newName() string {
	return "moved." + r.life + "." + strconv.FormatInt(r.moved.Add(1), 10)
}

// close returns when all that was added is removed. It must be called once.
func (r *remover) close() {
	close(r.closing)
	close(r.queue)
	r.workers.Wait()
	unix.Close(r.dirfd)
}

// remove removes one tree, unless stop is closed before it is gone.
func (r *remover) remove(d doomed, stop <-chan struct{}) {
	j := &removal{r: r, stop: stop, todo: []doomed{d}}
	for len(j.todo) > 0 {
		next := j.todo[0]
		j.todo = j.todo[1:]
		if err := j.tree(next.dirfd, next.name, removeDepth); err != nil && !errors.Is(err, errClosing) {
			r.log.Warn("remove what an action left", "name", next.name, keyError, err)
		}
	}
}

// removal is the removal of one tree.
type removal struct {
	r    *remover
	stop <-chan struct{}
	todo []doomed // the tree, and what of it was moved up
}

// tree removes name in dirfd, whatever it is.
func (j *removal) tree(dirfd int, name string, depth int) error {
	select {
	case <-j.stop:
		return errClosing
	default:
	}
	fd, err := openDoomed(dirfd, name)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP):
		return pathError("unlink", name, unix.Unlinkat(dirfd, name, 0))
	case err != nil:
		return err
	}
	if depth == 0 {
		unix.Close(fd)
		return j.moveUp(dirfd, name)
	}
	err = j.entries(fd, depth)
	unix.Close(fd)
	if err != nil {
		return err
	}
	return pathError("remove directory", name, unix.Unlinkat(dirfd, name, unix.AT_REMOVEDIR))
}

// moveUp puts a directory that is deep in a tree on the list as one of its own.
func (j *removal) moveUp(dirfd int, name string) error {
	to := j.r.newName()
	if err := unix.Renameat(dirfd, name, j.r.dirfd, to); err != nil {
		return pathError("move", name, err)
	}
	j.todo = append(j.todo, doomed{j.r.dirfd, to})
	return nil
}

// entries empties a directory as far as it can, and returns the last error.
func (j *removal) entries(fd, depth int) error {
	names, err := namesOf(fd)
	if err != nil {
		return err
	}
	for _, name := range names {
		switch e := unix.Unlinkat(fd, name, 0); e {
		case nil, unix.ENOENT:
		case unix.EISDIR, unix.EPERM: // EPERM is what POSIX has for directories
			if e := j.tree(fd, name, depth-1); e != nil {
				err = e
			}
		default:
			err = pathError("unlink", name, e)
		}
		if errors.Is(err, errClosing) {
			return err
		}
	}
	return err
}

// openDoomed opens a directory for listing and unlinking. EXDEV: something is
// mounted there.
func openDoomed(dirfd int, name string) (int, error) {
	fd, err := openThere(dirfd, name)
	if errors.Is(err, unix.EACCES) { // so it is a directory, not a link
		if err := unix.Fchmodat(dirfd, name, 0o700, 0); err != nil {
			return -1, pathError("take back", name, err)
		}
		fd, err = openThere(dirfd, name)
	}
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && st.Mode&0o700 != 0o700 {
		err = unix.Fchmod(fd, 0o700)
	}
	if err != nil {
		unix.Close(fd)
		return -1, pathError("take back", name, err)
	}
	return fd, nil
}

// openThere opens a directory that is no link and in the same file system.
func openThere(dirfd int, name string) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS,
	}
	fd, err := unix.Openat2(dirfd, name, &how)
	if err == unix.ENOSYS || err == unix.EPERM { // see openBeneath
		fd, err = unix.Openat(dirfd, name, int(how.Flags), 0)
	}
	return fd, pathError("open", name, err)
}

// namesOf lists a directory, without "." and "..".
func namesOf(fd int) (names []string, err error) {
	var buf [8 << 10]byte
	for {
		n, err := unix.ReadDirent(fd, buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list directory: %w", err)
		}
		if n <= 0 {
			return names, nil
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}
