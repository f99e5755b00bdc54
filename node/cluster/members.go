package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/bgrid-node/bgrid-node/node/cluster/peerpb"
)

// promoteWithin is how many entries of the log a member may be behind to get a
// vote.
const promoteWithin = 256

// promote gives a vote to members that have caught up, and keeps the leader's own
// address true, on the leader.
func (c *Cluster) promote() {
	last := c.raft.Status().LastLog
	for _, m := range c.Members() {
		if m.ID == c.o.NodeID && m.Address != c.o.Advertise {
			c.vote(m.ID, c.o.Advertise, "the leader has another address")
			continue
		}
		r := c.remote(m.ID)
		if m.Voter || r == nil {
			continue
		}
		c.mu.Lock()
		process := c.joined[m.ID]
		c.mu.Unlock()
		up, reply, _, _ := r.state()
		if !up || !reply.HasState || reply.AppliedIndex+promoteWithin < last ||
			(process != "" && process != string(reply.Instance)) { // what is known is of the process before
			continue
		}
		c.vote(m.ID, m.Address, "a member has caught up and votes")
	}
}

// vote makes a member one with a vote at that address.
func (c *Cluster) vote(id, address, why string) {
	ctx, cancel := context.WithTimeout(c.ctx, askTime)
	defer cancel()
	if err := c.raft.AddVoter(ctx, id, address); err != nil {
		c.log.Warn("change the configuration", "node", id, "reason", why, "error", err)
		return
	}
	c.log.Info(why, "node", id, "address", address)
}

// removeMember answers Remove, on the leader.
func (c *Cluster) removeMember(ctx context.Context, id string) (*peerpb.RemoveReply, error) {
	reply := &peerpb.RemoveReply{NotLeader: !c.raft.IsLeader()}
	if reply.NotLeader {
		return reply, nil
	}
	done, err := c.joining.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	servers, err := c.raft.Configuration()
	if err != nil {
		return nil, err
	}
	if reply.Unknown = serverOf(servers, id) == nil; reply.Unknown {
		reply.Refused = fmt.Sprintf("%s is no member: the members are %s", id, memberNames(servers))
		return reply, nil
	}
	if reply.Refused = c.irremovable(servers, id); reply.Refused != "" {
		return reply, nil
	}
	if id == c.o.NodeID { // the next leader does it
		if err := c.raft.Transfer(ctx); err != nil {
			return nil, err
		}
		reply.NotLeader = true
		return reply, nil
	}
	if err := c.raft.Remove(ctx, id); err != nil {
		return nil, err
	}
	c.log.Info("a member was removed", "node", id)
	c.work.Go(func() { // a hint: it finds out by itself otherwise
		for _, addr := range c.book.addresses(id) {
			err := c.ask(c.ctx, addr, func(ctx context.Context, p peerpb.PeerClient) error {
				_, err := p.Look(ctx, &peerpb.LookRequest{})
				return err
			})
			if err == nil {
				return
			}
		}
	})
	return reply, nil
}

// irremovable says why one of the servers cannot be removed; "" when it can.
func (c *Cluster) irremovable(servers []raft.Server, id string) string {
	if serverOf(servers, id).Suffrage != raft.Voter {
		return ""
	}
	voters, up := 0, 0
	for _, s := range servers {
		if s.Suffrage != raft.Voter || string(s.ID) == id {
			continue
		}
		voters++
		if c.Reachable(string(s.ID)) {
			up++
		}
	}
	switch {
	case voters == 0:
		return fmt.Sprintf("%s is the only member with a vote: a cluster cannot be without", id)
	case up < voters/2+1:
		return fmt.Sprintf("without %s, %d of the other %d members can be reached, and %d are needed", id, up, voters, voters/2+1)
	}
	return ""
}

func memberNames(servers []raft.Server) string {
	nodes := make([]*peerpb.DiscoverReply, len(servers))
	for i, s := range servers {
		nodes[i] = &peerpb.DiscoverReply{NodeId: string(s.ID)}
	}
	return names(nodes)
}

// Remove makes a node no member any longer, whichever node leads. The error is
// one line for people.
func (c *Cluster) Remove(ctx context.Context, id string) error {
	var lost error // a leader that took it up and did not say how it ended
	for {
		reply, err := c.removeAtLeader(ctx, id)
		switch {
		case err != nil:
			lost = err
		case reply.Unknown && lost != nil:
			return nil
		case reply.Refused != "":
			return fmt.Errorf("remove node %s: %s", id, reply.Refused)
		case !reply.NotLeader:
			return nil
		}
		if c.ctx.Err() != nil {
			return fmt.Errorf("remove node %s: %w", id, ErrClosed)
		}
		if ended := pause(ctx, againAfter); ended != nil {
			return errors.Join(fmt.Errorf("remove node %s: %w", id, ended), lost)
		}
	}
}

// removeAtLeader tries it once, here or at the node that leads.
func (c *Cluster) removeAtLeader(ctx context.Context, id string) (*peerpb.RemoveReply, error) {
	reply, err := c.removeMember(ctx, id)
	if err != nil || !reply.NotLeader {
		return reply, err
	}
	leader, err := c.awaitLeader(ctx)
	if err != nil || leader == c.o.NodeID {
		return reply, err
	}
	return c.removeAt(ctx, leader, id)
}

func (c *Cluster) removeAt(ctx context.Context, leader, id string) (*peerpb.RemoveReply, error) {
	conn, err := c.Conn(leader)
	if err != nil {
		return nil, err
	}
	return peerpb.NewPeerClient(conn).Remove(ctx, &peerpb.RemoveRequest{NodeId: id, Forwarded: true})
}

// Leave makes this node no member any longer. It takes no part from then on, also
// after a restart, until it is joined again.
func (c *Cluster) Leave(ctx context.Context) error {
	if err := c.Remove(ctx, c.o.NodeID); err != nil {
		return err
	}
	c.leaveOut("it was asked to leave")
	return nil
}

// Enter makes this node join the cluster of the node at HOST:PORT: also one that
// was removed before.
func (c *Cluster) Enter(ctx context.Context, peer string) error {
	has, err := c.raft.HasState()
	if err != nil {
		return err
	}
	r := c.id.get()
	switch {
	case has && !r.Removed:
		return fmt.Errorf("join %s: node %s is a member of the cluster %s already", peer, c.o.NodeID, r.ClusterID)
	case !has && c.hadData:
		return fmt.Errorf("join %s: node %s has jobs or results of its own: a node that joins needs an empty data directory", peer, c.o.NodeID)
	}
	for {
		err := c.join(ctx, peer)
		if err == nil {
			c.nudge()
			return nil
		}
		if !errors.Is(err, errNoLeader) || pause(ctx, roundEvery) != nil { // one is elected soon
			return fmt.Errorf("join %s: %w", peer, err)
		}
	}
}
