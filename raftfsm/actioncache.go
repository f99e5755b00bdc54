package raftfsm

import (
	"github.com/bgrid-node/bgrid-node/store/actioncache"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// CacheOf is the ActionCache over a store: the store knows nothing of the queue,
// whose accepted entries ask for writes.
func CacheOf(s *actioncache.Store) ReplicatedCache { return cacheOf{s} }

type cacheOf struct{ *actioncache.Store }

func (c cacheOf) Apply(index uint64, ws []queue.ActionCacheWrite) error {
	out := make([]actioncache.Write, len(ws))
	for i := range ws {
		out[i] = actioncache.Write(ws[i])
	}
	return c.Store.Apply(index, out)
}
