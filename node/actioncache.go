package node

import (
	"context"

	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/actioncache"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// loggedResults is the action cache as the command log writes it. The two know
// nothing of each other.
type loggedResults struct{ store *actioncache.Store }

// Apply implements raftfsm.ActionCache.
func (r loggedResults) Apply(index uint64, ws []queue.ActionCacheWrite) error {
	writes := make([]actioncache.Write, len(ws))
	for i, w := range ws {
		writes[i] = actioncache.Write{
			Instance: w.Instance, Action: w.Action, Result: w.Result, ResultBlob: w.ResultBlob,
			Evict: w.Evict, IfWrittenAtOrBefore: w.IfWrittenAtOrBefore, Index: w.Index,
		}
	}
	return r.store.Apply(index, writes)
}

// AppliedIndex implements raftfsm.ActionCache.
func (r loggedResults) AppliedIndex() uint64 { return r.store.AppliedIndex() }

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

// evictDangling removes such entries through the command log until ctx ends: an
// eviction, too, happens on every node or on none.
func (n *Node) evictDangling(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-n.dangling:
			_, err := n.proposer.Propose(ctx, raftfsm.ActionCacheEvict(&commandpb.ActionCacheEvict{
				Instance: d.instance, Action: queue.DigestProto(d.action), WrittenIndex: d.index,
			}))
			if err != nil && ctx.Err() == nil {
				n.logger.Warn("evict action cache entry that names a missing blob", keyError, err)
			}
		}
	}
}
