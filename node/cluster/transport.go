package cluster

import (
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

const (
	// raftTime bounds an exchange of the log's messages, a follower's sync included.
	// Broken networks are noticed earlier, by the link's own time-outs.
	raftTime = 5 * time.Second
	// failSlowly is how long a failure to send entries is kept from raft at most.
	failSlowly = time.Minute
)

// transport is raft's transport over the link. Nodes are dialled by id, wherever
// they are now.
//
// After each failure to send entries raft waits twice as long, up to ten seconds,
// and nothing ends that wait: a member that was away for a few seconds would lag
// behind, and keep its clients waiting, for as long again. So a failure is told
// only once the member can be reached again.
type transport struct {
	*raft.NetworkTransport
	c *Cluster
}

func newTransport(c *Cluster) *transport {
	return &transport{c: c, NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:                c.stream,
		ServerAddressProvider: c.stream,
		MaxPool:               3,
		Timeout:               raftTime,
		Logger:                hclog.NewNullLogger(), // which peers cannot be reached is told by the pings
	})}
}

// AppendEntries implements raft.Transport.
func (t *transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := t.NetworkTransport.AppendEntries(id, target, args, resp)
	if err == nil {
		return nil
	}
	limit := time.NewTimer(failSlowly)
	defer limit.Stop()
	for {
		changed := t.c.changed.next()
		r := t.c.remote(string(id))
		if r == nil || t.c.Reachable(string(id)) {
			return err
		}
		select {
		case <-changed:
		case <-limit.C:
			return err
		case <-t.c.ctx.Done():
			return err
		}
	}
}
