package cluster

import (
	"cmp"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// watch keeps the view up to date until Close.
func (c *Cluster) watch() {
	tick := time.NewTicker(min(c.o.Raft.ElectionTimeout/4, 100*time.Millisecond))
	defer tick.Stop()
	for {
		_, changed := c.raft.Leadership()
		c.look()
		select {
		case <-c.ctx.Done():
			return
		case <-changed:
		case <-tick.C:
		}
	}
}

// look takes one look at the log's configuration and at who leads.
func (c *Cluster) look() {
	servers, err := c.raft.Configuration()
	if err != nil {
		return // it is closing
	}
	r := c.id.get()
	if r.ClusterID == "" && r.Grant != nil && len(servers) > 0 { // the log came that this node was promised
		if err := c.settle(); err != nil {
			c.log.Error("note the cluster of this node", "error", err)
			return
		}
		c.nudge()
	}
	removed := r.Removed
	next := view{members: membersOf(servers), quorum: c.hearsLeader(servers) && !removed}
	if !removed {
		next.leader = c.raft.Leader()
	}
	for _, m := range next.members {
		c.book.know(m.ID, m.Address)
	}
	c.mu.Lock()
	before := c.view
	next.since = before.since
	if next.quorum != before.quorum {
		next.since = time.Now()
	}
	c.view = next
	c.mu.Unlock()
	if !slices.Equal(before.members, next.members) {
		c.setRemotes(next.members)
	}
	if before.leader != next.leader {
		c.log.Info("leader changed", "leader", cmp.Or(next.leader, "none"), "term", c.raft.Term())
		c.nudge() // a leader has more to do, and a new one to be told where this node is
	}
	if before.leader != next.leader || before.quorum != next.quorum || !slices.Equal(before.members, next.members) {
		c.changed.fire()
	}
}

// hearsLeader tells whether this node is a member that leads, or follows a leader
// that it heard from not long ago: raft takes one to two election time-outs to
// give a leader up.
func (c *Cluster) hearsLeader(servers []raft.Server) bool {
	if !slices.ContainsFunc(servers, func(s raft.Server) bool { return string(s.ID) == c.o.NodeID }) {
		return false
	}
	s := c.raft.Status()
	if s.State == raft.Leader.String() {
		return true
	}
	return s.Leader != "" && s.LastContact >= 0 && s.LastContact <= 2*c.o.Raft.ElectionTimeout
}

func membersOf(servers []raft.Server) []Member {
	members := make([]Member, 0, len(servers))
	for _, s := range servers {
		members = append(members, Member{ID: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter})
	}
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return members
}
