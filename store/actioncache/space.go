package actioncache

import (
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bgrid-node/bgrid-node/store/cas"
)

// What must be free on the disk before a write: Badger maps the logs of its
// memtables at twice their size, and writing to a mapping on a full disk kills
// the process. Evictions, which are small, are still taken when puts are not.
const (
	guard      = 4 * 2 * memTable
	evictGuard = guard / 2
)

// space tells whether the disk has room. It asks the system at most ten times a
// second, unless the disk is nearly full.
type space struct {
	free func() (int64, error) // bytes on the disk

	mu    sync.Mutex
	asked time.Time
	left  int64 // when last asked
}

// admit returns a *cas.FullError when the disk has less than need bytes left.
func (s *space) admit(need int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if since := now.Sub(s.asked); s.left < guard || since < 0 || since >= 100*time.Millisecond {
		s.asked, s.left = now, math.MaxInt64
		if free, err := s.free(); err == nil {
			s.left = free
		}
	}
	if s.left < need {
		return &cas.FullError{Reason: "the disk is full, there is no room for action results", RetryAfter: time.Minute}
	}
	return nil
}

// Room returns nil while Apply takes puts, and a *cas.FullError when the disk is
// too full for them. Whoever proposes one asks first: in the command log, a put
// that is refused takes its whole group with it.
func (s *Store) Room() error { return s.space.admit(guard) }

// freeIn returns a function that asks how much the disk of a directory has left.
func freeIn(dir string) func() (int64, error) {
	return func() (int64, error) {
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		return int64(st.Bavail) * st.Bsize, err
	}
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
