package cluster

import (
	"maps"

	"github.com/bgrid-node/bgrid-node/node/cluster/link"
	"github.com/bgrid-node/bgrid-node/node/cluster/peerpb"
	"github.com/bgrid-node/bgrid-node/raftfsm"
)

// hello is what this node says of itself at each connection.
func (c *Cluster) hello() *peerpb.Hello {
	return &peerpb.Hello{
		NodeId:         c.o.NodeID,
		Address:        c.o.Advertise,
		ClusterId:      c.id.get().ClusterID,
		Instance:       c.instance,
		Build:          c.o.Build,
		CommandVersion: raftfsm.Version,
		Settings:       maps.Clone(c.o.Settings),
	}
}

// admit refuses peers that hold the token and are still none of ours. It keeps a
// blank node from voting: the log is not served before this node gave its
// promise, or was accepted.
func (c *Cluster) admit(peer *peerpb.Hello) error {
	if peer.GetKind() == link.Open {
		return nil // Discover has to reach everybody, to say what is wrong
	}
	r := c.id.get()
	mine := r.ClusterID
	if mine == "" && r.Grant != nil {
		mine = r.Grant.ClusterID
	}
	switch {
	case r.Removed:
		return link.Refuse(peerpb.Verdict_NOT_MEMBER, "node %s was removed from the cluster", c.o.NodeID)
	case mine == "":
		return link.Refuse(peerpb.Verdict_NOT_MEMBER, "node %s is no member of a cluster yet", c.o.NodeID)
	case peer.GetClusterId() != mine:
		return link.Refuse(peerpb.Verdict_CLUSTER, "node %s is of the cluster %s, not %q", c.o.NodeID, mine, peer.GetClusterId())
	}
	if text := differs(peer.GetSettings(), c.o.Settings, c.o.NodeID); text != "" {
		return link.Refuse(peerpb.Verdict_SETTINGS, "%s", text)
	}
	return nil
}

// met remembers where a peer that holds the token says it is.
func (c *Cluster) met(peer *peerpb.Hello) {
	if peer.GetNodeId() != c.o.NodeID {
		c.book.note(peer.GetNodeId(), peer.GetAddress())
	}
}
