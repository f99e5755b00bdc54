package runners

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

const (
	// memoryFile is the largest file in bytes that is kept in memory, and the
	// smallest that is worth a place on disk.
	memoryFile  = 64 << 10
	memoryBytes = 16 << 20
)

// fileCache keeps the contents of input files that are used again and again:
// small ones in memory, others as files of which actions get copies.
//
// No action can corrupt it. It never gets a link to a cached file, only a copy or
// a reflink. And since an action on the host may run as this process's user, or
// as root, and so could open the cache's files by their paths, each is checked at
// each use to be what was published: any change of a file leaves a later change
// time (ctime), which no system call can set. See publish.
type fileCache struct {
	memory *lru[digest.Digest, []byte]
	disk   *lru[digest.Digest, cachedFile]
	dirfd  int
	eager  bool // keep files from their first use on
	seen   doorkeeper
	copier copier
	log    *slog.Logger

	publishing sync.WaitGroup
	turn       chan struct{} // one file is published at a time
	closing    context.Context
	close      context.CancelFunc
}

// cachedFile is what a file's inode looked like when it was complete.
type cachedFile struct {
	ino          uint64
	size         int64
	mtime, ctime unix.Timespec
}

// newFileCache makes an empty cache in dir, which must be empty.
func newFileCache(dir string, maxBytes int64, eager bool, log *slog.Logger) (*fileCache, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make file cache: %w", err)
	}
	fd, err := openDir(unix.AT_FDCWD, dir)
	if err != nil {
		return nil, fmt.Errorf("open file cache: %w", err)
	}
	c := &fileCache{dirfd: fd, eager: eager, copier: probeCopier(fd), log: log, turn: make(chan struct{}, 1)}
	c.closing, c.close = context.WithCancel(context.Background())
	c.memory = newLRU[digest.Digest, []byte](min(memoryBytes, max(maxBytes, 0)), nil)
	c.disk = newLRU(maxBytes, func(d digest.Digest, _ cachedFile) { c.unlink(d) })
	return c, nil
}

// end waits for what is being published.
func (c *fileCache) end() {
	c.close()
	c.publishing.Wait()
	unix.Close(c.dirfd)
}

func (c *fileCache) unlink(d digest.Digest) {
	if err := unix.Unlinkat(c.dirfd, d.Hex(), 0); err != nil && err != unix.ENOENT {
		c.log.Warn("remove cached file", "digest", d.String(), "error", err)
	}
}

// small returns a small file's content from memory.
func (c *fileCache) small(d digest.Digest) ([]byte, bool) {
	if d.Size > memoryFile {
		return nil, false
	}
	return c.memory.get(d)
}

// addSmall offers a small file's content, which must not be changed any more.
func (c *fileCache) addSmall(d digest.Digest, data []byte) {
	if d.Size <= memoryFile {
		c.memory.add(d, data, int64(len(data))+200)
	}
}

// copyTo fills the empty file dst with the content of d, if it is here and as it
// was written.
func (c *fileCache) copyTo(dst int, d digest.Digest) (bool, error) {
	if d.Size <= memoryFile {
		return false, nil
	}
	want, ok := c.disk.get(d)
	if !ok {
		return false, nil
	}
	src, err := openFile(c.dirfd, d.Hex())
	if err != nil {
		c.distrust(d, want, err)
		return false, nil
	}
	defer unix.Close(src)
	have, err := inode(src)
	if err == nil && have != want {
		err = errors.New("it was changed from outside")
	}
	if err != nil {
		c.distrust(d, want, err)
		return false, nil
	}
	return true, c.copier.copy(dst, src, d.Size)
}

// distrust drops an entry that is not what was put there, unless another has
// taken its place meanwhile or it was evicted.
func (c *fileCache) distrust(d digest.Digest, was cachedFile, err error) {
	if !c.disk.remove(d, func(now cachedFile) bool { return now == was }) {
		return
	}
	c.log.Warn("drop cached file", "digest", d.String(), "error", err)
	c.unlink(d)
}

// wants tells whether a file that was just asked for shall be kept on disk: from
// its second use on, since most files are used by one action only.
func (c *fileCache) wants(d digest.Digest) bool {
	return d.Size > memoryFile && d.Size <= c.disk.max/4 && (c.eager || c.seen.again(d))
}

// add keeps a file, whose content fill writes. When it cannot, for want of space
// say, nothing is kept, and the error is fill's own or that of the file system.
func (c *fileCache) add(d digest.Digest, fill func(fd int) error) error {
	if _, ok := c.disk.get(d); ok {
		return nil
	}
	fd, err := createFile(c.dirfd, d.Hex(), 0o400)
	if errors.Is(err, unix.EEXIST) {
		return nil // another action is just writing it
	}
	if err != nil {
		return err
	}
	if err := fill(fd); err != nil {
		unix.Close(fd)
		c.unlink(d)
		return err
	}
	c.publishing.Go(func() {
		defer unix.Close(fd)
		if err := c.publish(d, fd); err != nil {
			c.unlink(d)
			if c.closing.Err() == nil {
				c.log.Warn("keep input file", "digest", d.String(), "error", err)
			}
		}
	})
	return nil
}

// publish makes a complete file one that is used. What its inode looks like is
// noted before its content is checked: a change before that moment is found by
// the check, a later one by its change time, once that is sure to differ.
func (c *fileCache) publish(d digest.Digest, fd int) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-c.closing.Done():
		return c.closing.Err()
	}
	entry, err := settledInode(fd)
	if err != nil {
		return err
	}
	have, err := hashFile(c.closing, d.Function, fd)
	if err != nil {
		return err
	}
	if have != d {
		return errors.New("it was changed while it was written")
	}
	if !c.disk.add(d, entry, d.Size) {
		return errors.New("it is too large, or there already")
	}
	return nil
}

// settledInode returns what the inode looks like when the clock that change times
// are taken from, which ticks every few milliseconds, has gone on since.
func settledInode(fd int) (cachedFile, error) {
	const most = 100
	for range most {
		entry, err := inode(fd)
		if err != nil {
			return entry, err
		}
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now); err != nil {
			return entry, fmt.Errorf("read clock: %w", err)
		}
		if now.Nano() > entry.ctime.Nano() {
			return entry, nil
		}
		time.Sleep(time.Millisecond)
	}
	return cachedFile{}, errors.New("its change time is in the future")
}

// makeRoom gives up half of what is on disk, for a disk that is full.
func (c *fileCache) makeRoom() { c.disk.shrink(c.disk.total() / 2) }

func inode(fd int) (cachedFile, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return cachedFile{}, fmt.Errorf("stat cached file: %w", err)
	}
	return cachedFile{ino: st.Ino, size: st.Size, mtime: st.Mtim, ctime: st.Ctim}, nil
}

// doorkeeper remembers which digests were seen of late, in two generations of
// which the older is forgotten as a whole.
type doorkeeper struct {
	mu       sync.Mutex
	now, old map[[8]byte]struct{}
}

const doorkeeperSize = 1 << 14

// again notes d and tells whether it was noted before.
func (k *doorkeeper) again(d digest.Digest) bool {
	key := [8]byte(d.Hash[:8])
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.now[key]; ok {
		return true
	}
	_, ok := k.old[key]
	if k.now == nil || len(k.now) >= doorkeeperSize {
		k.now, k.old = map[[8]byte]struct{}{}, k.now
	}
	k.now[key] = struct{}{}
	return ok
}
