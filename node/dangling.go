package node

import (
	"context"

	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// dangling is an entry of the action cache that names a missing blob.
type dangling struct {
	instance string
	action   digest.Digest
	index    uint64 // at which it was written
}

// maxDangling bounds the entries that wait to be evicted; of more, the next
// look-up tells again.
const maxDangling = 256

// noteDangling remembers an entry to evict. It does not block.
func (n *Node) noteDangling(instance string, action digest.Digest, index uint64) {
	select {
	case n.dangling <- dangling{instance, action, index}:
	default:
	}
}

// startEvicting begins to evict what noteDangling is told, until the node closes.
func (n *Node) startEvicting() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.evictDangling(ctx)
	}()
	n.closers.add("eviction of dangling results", func() error {
		cancel()
		<-ended
		return nil
	})
}

// evictDangling removes such entries through the command log until ctx ends: an
// eviction, too, happens on every node or on none.
func (n *Node) evictDangling(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-n.dangling:
			if n.stores.results.Room() != nil {
				continue // the next look-up tells again
			}
			_, err := n.proposer.Propose(ctx, raftfsm.ActionCacheEvict(&commandpb.ActionCacheEvict{
				Instance: d.instance, Action: queue.DigestProto(d.action), WrittenIndex: d.index,
			}))
			if err != nil && ctx.Err() == nil {
				n.logger.Warn("evict action cache entry that names a missing blob", keyError, err)
			}
		}
	}
}
