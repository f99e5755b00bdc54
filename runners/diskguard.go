package runners

import (
	"context"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// diskGuard ends the action that takes most of a disk that is nearly full, before
// the node's stores, which may share it, have no room left.
type diskGuard struct {
	path string

	mu      sync.Mutex
	running map[string]context.CancelCauseFunc // by directory
}

const (
	guardEvery = 500 * time.Millisecond
	// guardReserve, or a twentieth of a smaller disk, is what is kept free.
	guardReserve = 1 << 30
	// guardEntries bounds the look at what an action made.
	guardEntries = 1 << 18
)

// watch has an action whose files are in dir looked after, until stop.
func (g *diskGuard) watch(ctx context.Context, dir string) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running[dir] = cancel
	return ctx, func() {
		g.mu.Lock()
		delete(g.running, dir)
		g.mu.Unlock()
		cancel(nil)
	}
}

// run looks until ctx ends.
func (g *diskGuard) run(ctx context.Context) {
	ticker := time.NewTicker(guardEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			g.look()
		}
	}
}

// look ends the greediest action when the disk is nearly full, if it is greedy.
func (g *diskGuard) look() {
	g.mu.Lock()
	dirs := make(map[string]context.CancelCauseFunc, len(g.running))
	for dir, cancel := range g.running {
		dirs[dir] = cancel
	}
	g.mu.Unlock()
	var st unix.Statfs_t
	if len(dirs) == 0 || unix.Statfs(g.path, &st) != nil {
		return
	}
	total, free := int64(st.Blocks)*st.Bsize, int64(st.Bavail)*st.Bsize
	reserve := min(guardReserve, total/20)
	if free >= reserve {
		return
	}
	var greediest string
	var most int64
	for dir := range dirs {
		if n := bytesIn(dir); n > most {
			greediest, most = dir, n
		}
	}
	if most > reserve/2 {
		dirs[greediest](exhausted("the disk of the worker is nearly full, and of all actions this one had written most: %d bytes", most))
	}
}

// bytesIn adds up what the files below dir take.
func bytesIn(dir string) (total int64) {
	const block = 512
	entries := 0
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if entries++; entries > guardEntries {
			return fs.SkipAll
		}
		var st unix.Stat_t
		if err == nil && unix.Lstat(path, &st) == nil {
			total += st.Blocks * block
		}
		return nil
	})
	return total
}
