package actioncache

import (
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bgrid-node/bgrid-node/store/cas"
)

// guard is what must be free on the disk before a put: Badger maps the logs of
// its memtables at twice their size, and writing to a mapping on a full disk
// kills the process.
const guard = 4 * 2 * memTable

// space tells whether the disk has room. It asks the system at most ten times a
// second.
type space struct {
	dir string

	mu    sync.Mutex
	asked time.Time
	err   error
}

// admit returns a *cas.FullError when the disk is nearly full.
func (s *space) admit() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if since := now.Sub(s.asked); since >= 0 && since < 100*time.Millisecond {
		return s.err
	}
	s.asked, s.err = now, nil
	var st unix.Statfs_t
	if unix.Statfs(s.dir, &st) == nil && int64(st.Bavail)*st.Bsize < guard {
		s.err = &cas.FullError{Reason: "the disk is full, action results included", RetryAfter: time.Minute}
	}
	return s.err
}

// diskUse returns the bytes that a directory takes on the disk. Badger's files
// lie flat in it, and most are larger than what is in them.
func diskUse(dir string) int64 {
	names, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	total := int64(0)
	for _, e := range names {
		var st unix.Stat_t
		if unix.Lstat(filepath.Join(dir, e.Name()), &st) == nil {
			total += st.Blocks * 512
		}
	}
	return total
}
