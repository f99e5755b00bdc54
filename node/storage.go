package node

import (
	"github.com/bgrid-node/bgrid-node/node/bots"
	"github.com/bgrid-node/bgrid-node/node/cluster/placement"
	"github.com/bgrid-node/bgrid-node/node/reapi"
	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/store/actioncache"
)

// blobStorage is the content-addressable storage as all above the stores see it:
// *cas.Store, or in a cluster *placement.Blobs.
type blobStorage interface {
	reapi.Blobs
	actioncache.Blobs
	sched.Blobs
	bots.Blobs
	blobStore
}

// openBlobs chooses the storage. That of a cluster is this node's alone until the
// node knows other members.
func (n *Node) openBlobs() (err error) {
	if !n.config.Clustered() {
		n.storage = n.stores.cas
		return nil
	}
	n.placement, err = placement.New(placement.Options{Local: n.stores.cas, Replicas: n.config.Cluster.Replicas, Logger: n.logger})
	if err != nil {
		return err
	}
	n.storage = n.placement
	n.closers.add("placement of blobs", n.placement.Close)
	return nil
}
