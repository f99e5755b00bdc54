package runners

import (
	"container/list"
	"sync"
)

// lru is a cache bounded by the sum of its entries' costs. The least recently
// used entries go first. It is safe for concurrent use.
type lru[K comparable, V any] struct {
	mu      sync.Mutex
	entries map[K]*list.Element
	order   *list.List // front: the most recently used
	cost    int64
	max     int64
	evicted func(K, V) // may be nil; called without the lock
}

type lruEntry[K comparable, V any] struct {
	key   K
	value V
	cost  int64
}

func newLRU[K comparable, V any](maxCost int64, evicted func(K, V)) *lru[K, V] {
	return &lru[K, V]{entries: map[K]*list.Element{}, order: list.New(), max: maxCost, evicted: evicted}
}

// get returns the value and makes it the most recently used.
func (c *lru[K, V]) get(key K) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok {
		return value, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*lruEntry[K, V]).value, true
}

// add puts a value, unless the key is there already or it costs more than a
// quarter of what the cache may hold, and tells whether it did.
func (c *lru[K, V]) add(key K, value V, cost int64) bool {
	if cost > c.max/4 {
		return false
	}
	c.mu.Lock()
	if _, ok := c.entries[key]; ok {
		c.mu.Unlock()
		return false
	}
	c.entries[key] = c.order.PushFront(&lruEntry[K, V]{key, value, cost})
	c.cost += cost
	out := c.shrinkLocked(c.max)
	c.mu.Unlock()
	c.tell(out)
	return true
}

// remove forgets a key without telling evicted, if it still has that value as
// same sees it.
func (c *lru[K, V]) remove(key K, same func(V) bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok || !same(e.Value.(*lruEntry[K, V]).value) {
		return false
	}
	c.dropLocked(e)
	return true
}

// shrink evicts until the entries cost no more than to.
func (c *lru[K, V]) shrink(to int64) {
	c.mu.Lock()
	out := c.shrinkLocked(to)
	c.mu.Unlock()
	c.tell(out)
}

// total returns the cost of all entries.
func (c *lru[K, V]) total() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cost
}

func (c *lru[K, V]) shrinkLocked(to int64) (out []*lruEntry[K, V]) {
	for c.cost > to {
		e := c.order.Back()
		out = append(out, e.Value.(*lruEntry[K, V]))
		c.dropLocked(e)
	}
	return out
}

func (c *lru[K, V]) dropLocked(e *list.Element) {
	entry := e.Value.(*lruEntry[K, V])
	c.order.Remove(e)
	delete(c.entries, entry.key)
	c.cost -= entry.cost
}

func (c *lru[K, V]) tell(out []*lruEntry[K, V]) {
	if c.evicted == nil {
		return
	}
	for _, e := range out {
		c.evicted(e.key, e.value)
	}
}
