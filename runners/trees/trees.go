// Package trees keeps directory trees on disk that several actions share, each
// laid out once. What they cost is bounded; a tree that is in use stays.
package trees

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Options of New.
type Options struct {
	Dir      string // made by New; must not be there yet
	MaxBytes int64  // of all trees that nobody uses, and those in use, as Fill counts them
	// Remove removes a tree, in the background or not; dirfd is Dir's.
	Remove func(dirfd int, name string)
}

// Cache holds trees by key. It starts empty: what an earlier process left, killed
// or not, is not trusted.
type Cache struct {
	o     Options
	dirfd int

	mu     sync.Mutex
	trees  map[string]*entry
	used   []*entry // those that nobody uses, the longest unused first
	bytes  int64
	number int
}

// entry is one tree, complete or being laid out.
type entry struct {
	key, name string
	ready     chan struct{} // closed when filled or failed
	err       error
	bytes     int64
	meta      any
	users     int
}

// Fill lays a tree out in an empty directory and returns what it takes, in bytes,
// and whatever shall be known of it.
type Fill func(ctx context.Context, path string) (bytes int64, meta any, err error)

// New makes an empty cache.
func New(o Options) (*Cache, error) {
	if err := os.Mkdir(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of shared trees: %w", err)
	}
	fd, err := unix.Open(o.Dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open directory of shared trees: %w", err)
	}
	return &Cache{o: o, dirfd: fd, trees: map[string]*entry{}}, nil
}

// Close ends the cache; nobody may use a tree any more. The trees stay on disk.
func (c *Cache) Close() error { return unix.Close(c.dirfd) }

// Tree is a tree in use.
type Tree struct {
	Path string // absolute when Options.Dir is
	Meta any

	cache   *Cache
	entry   *entry
	release sync.Once
}

// Release lets the tree be removed when there is no room for it.
func (t *Tree) Release() { t.release.Do(func() { t.cache.release(t.entry) }) }

// Get returns the tree with this key. The first who asks fills it, the others
// wait; when filling fails, each of them tries, too.
func (c *Cache) Get(ctx context.Context, key string, fill Fill) (*Tree, error) {
	for {
		e, mine := c.join(key)
		if mine {
			c.fill(ctx, e, fill)
		}
		select {
		case <-e.ready:
		case <-ctx.Done():
			c.release(e)
			return nil, ctx.Err()
		}
		if e.err == nil {
			return &Tree{Path: filepath.Join(c.o.Dir, e.name), Meta: e.meta, cache: c, entry: e}, nil
		}
		c.release(e)
		if mine {
			return nil, e.err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// join returns the entry of the key with one user more, a new one when there is
// none: then mine is set.
func (c *Cache) join(key string) (e *entry, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.trees[key]; e != nil {
		if e.users == 0 {
			c.unlist(e)
		}
		e.users++
		return e, false
	}
	c.number++
	e = &entry{key: key, name: strconv.Itoa(c.number), ready: make(chan struct{}), users: 1}
	c.trees[key] = e
	return e, true
}

func (c *Cache) unlist(e *entry) {
	for i, other := range c.used {
		if other == e {
			c.used = append(c.used[:i], c.used[i+1:]...)
			return
		}
	}
}

// fill fills a new entry.
func (c *Cache) fill(ctx context.Context, e *entry, fill Fill) {
	path := filepath.Join(c.o.Dir, e.name)
	err := os.Mkdir(path, 0o755)
	var bytes int64
	if err == nil {
		bytes, e.meta, err = fill(ctx, path)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		e.err = err
		delete(c.trees, e.key)
		if !errors.Is(err, os.ErrExist) {
			c.o.Remove(c.dirfd, e.name)
		}
	} else {
		e.bytes = bytes
		c.bytes += bytes
		c.evict()
	}
	close(e.ready)
}

// release gives a tree back.
func (c *Cache) release(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.users--
	if e.users == 0 && c.trees[e.key] == e {
		c.used = append(c.used, e)
		c.evict()
	}
}

// evict removes the longest unused trees until the rest is within bounds.
func (c *Cache) evict() {
	for c.bytes > c.o.MaxBytes && len(c.used) > 0 {
		e := c.used[0]
		c.used = c.used[1:]
		c.bytes -= e.bytes
		delete(c.trees, e.key)
		c.o.Remove(c.dirfd, e.name)
	}
}

// MakeRoom removes what nobody uses, for a disk that is full.
func (c *Cache) MakeRoom() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.used {
		c.bytes -= e.bytes
		delete(c.trees, e.key)
		c.o.Remove(c.dirfd, e.name)
	}
	c.used = nil
}

// Usage returns how many trees there are and what they take, in bytes.
func (c *Cache) Usage() (trees int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.trees), c.bytes
}
