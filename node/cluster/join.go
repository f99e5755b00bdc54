package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/hashicorp/raft"

	"github.com/bgrid-node/bgrid-node/node/cluster/peerpb"
	"github.com/bgrid-node/bgrid-node/raftfsm"
)

// maxHops bounds how often a question to the leader follows a change of it.
const maxHops = 4

// joinRequest is this node's, as it is now.
func (c *Cluster) joinRequest() (*peerpb.JoinRequest, error) {
	has, err := c.raft.HasState()
	return &peerpb.JoinRequest{
		NodeId: c.o.NodeID, Address: c.o.Advertise, Instance: c.instance, Blank: !has, ClusterId: c.id.get().ClusterID,
		CommandVersion: raftfsm.Version, Settings: maps.Clone(c.o.Settings),
	}, err
}

// join asks the leader, found through the node at via, to be made a member.
func (c *Cluster) join(ctx context.Context, via string) error {
	req, err := c.joinRequest()
	if err != nil {
		return err
	}
	reply, err := c.askJoin(ctx, via, req)
	switch {
	case err != nil:
		return err
	case reply.Refused != "":
		return errors.New(reply.Refused)
	}
	for _, s := range reply.Servers {
		if s.NodeId != c.o.NodeID {
			c.book.know(s.NodeId, s.Address)
		}
	}
	return c.id.update(func(r *record) error {
		r.ClusterID, r.Grant, r.Removed = reply.ClusterId, nil, false
		return nil
	})
}

var errNoLeader = errors.New("the cluster has no leader now")

// askJoin follows the hints of who leads.
func (c *Cluster) askJoin(ctx context.Context, addr string, req *peerpb.JoinRequest) (*peerpb.JoinReply, error) {
	for range maxHops {
		var reply *peerpb.JoinReply
		err := c.ask(ctx, addr, func(ctx context.Context, p peerpb.PeerClient) (err error) {
			reply, err = p.Join(ctx, req)
			return err
		})
		if err != nil {
			return nil, err
		}
		if !reply.NotLeader {
			return reply, nil
		}
		if reply.LeaderAddress == "" {
			break
		}
		addr = reply.LeaderAddress
	}
	return nil, errNoLeader
}

// announce tells the leader where this node is now, and learns whether it is
// still a member.
func (c *Cluster) announce() {
	req, err := c.joinRequest()
	if err != nil {
		return
	}
	req.OnlyKnown = true
	addr := c.leaderAddress()
	if addr == "" {
		return
	}
	reply, err := c.askJoin(c.ctx, addr, req)
	if err != nil {
		return
	}
	switch {
	case reply.Unknown:
		c.leaveOut("the leader does not count it among the members")
	case reply.Refused != "":
		c.log.Warn("the leader refuses this member", "reason", reply.Refused)
	}
}

// leaderAddress returns where the leader is, as this node's log or another member
// has it; "" when nobody knows.
func (c *Cluster) leaderAddress() string {
	if id, ok := c.Leader(); ok && id != c.o.NodeID {
		return c.book.address(id)
	}
	for _, m := range c.Members() {
		r := c.remote(m.ID)
		if r == nil {
			continue
		}
		if up, last, _, _ := r.state(); up && last.GetLeaderId() != "" && last.GetLeaderId() != c.o.NodeID {
			return c.book.address(last.GetLeaderId())
		}
	}
	return ""
}

// leaveOut ends this node's part in the cluster until it is joined again.
func (c *Cluster) leaveOut(why string) {
	err := c.id.update(func(r *record) error { r.Removed = true; return nil })
	if err != nil {
		c.log.Error("note the removal of this node", "error", err)
		return
	}
	c.log.Error("this node was removed from the cluster and takes no part any longer", "reason", why)
	c.stream.drop()
	c.look()
	c.nudge()
}

// admitMember answers Join, on the leader.
func (c *Cluster) admitMember(ctx context.Context, req *peerpb.JoinRequest) (*peerpb.JoinReply, error) {
	done, err := c.joining.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	reply := &peerpb.JoinReply{ClusterId: c.id.get().ClusterID}
	// Nobody is told anything by a leader that may be none any longer.
	if _, err := c.raft.ReadIndex(ctx); errors.Is(err, raftfsm.ErrNotLeader) {
		reply.NotLeader = true
		reply.LeaderId, reply.LeaderAddress = c.leaderHint()
		return reply, nil
	} else if err != nil {
		return nil, err
	}
	if reply.Refused = c.unfit(req); reply.Refused != "" {
		return reply, nil
	}
	servers, err := c.raft.Configuration()
	if err != nil {
		return nil, err
	}
	known := serverOf(servers, req.NodeId)
	if known == nil && req.OnlyKnown {
		reply.Unknown = true
		return reply, nil
	}
	if reply.Refused = c.taken(known, req); reply.Refused != "" {
		return reply, nil
	}
	if err := c.takeIn(ctx, known, req); err != nil {
		return nil, err
	}
	if servers, err = c.raft.Configuration(); err != nil {
		return nil, err
	}
	for _, s := range servers {
		reply.Servers = append(reply.Servers, &peerpb.Server{NodeId: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter})
	}
	return reply, nil
}

// takeIn changes the configuration so that the node is a member. One that is
// blank under a known name lost its disk: its vote counted for what it no longer
// has, and is taken from it first.
func (c *Cluster) takeIn(ctx context.Context, known *raft.Server, req *peerpb.JoinRequest) error {
	switch {
	case known == nil:
		c.log.Info("a node joins", "node", req.NodeId, "address", req.Address, "blank", req.Blank)
	case req.Blank && known.Suffrage == raft.Voter:
		if req.OnlyKnown {
			return nil
		}
		c.log.Warn("a member lost its disk and begins anew", "node", req.NodeId, "address", req.Address)
		if err := c.raft.Remove(ctx, req.NodeId); err != nil {
			return err
		}
	case string(known.Address) == req.Address:
		return nil
	case known.Suffrage == raft.Voter:
		c.log.Info("a member has another address", "node", req.NodeId, "address", req.Address, "before", known.Address)
		return c.raft.AddVoter(ctx, req.NodeId, req.Address)
	}
	c.mu.Lock()
	c.joined[req.NodeId] = string(req.Instance)
	c.mu.Unlock()
	return c.raft.AddNonvoter(ctx, req.NodeId, req.Address)
}

// taken says that a member of that id lives, and is another process: two nodes with
// one id would take each other's place by turns. "" when there is none.
func (c *Cluster) taken(known *raft.Server, req *peerpb.JoinRequest) string {
	if req.NodeId == c.o.NodeID && string(req.Instance) != string(c.instance) {
		return fmt.Sprintf("--node-id %s is that of the node at %s, which lives: each node needs one of its own", req.NodeId, c.o.Advertise)
	}
	r := c.remote(req.NodeId)
	if known == nil || r == nil || (!req.Blank && string(known.Address) == req.Address) { // or it was restarted just now
		return ""
	}
	if up, last, _, _ := r.state(); up && string(last.GetInstance()) != string(req.Instance) {
		return fmt.Sprintf("--node-id %s is that of the node at %s, which lives: each node needs one of its own", req.NodeId, c.book.address(req.NodeId))
	}
	return ""
}

// unfit says why a node cannot be a member; "" when it can.
func (c *Cluster) unfit(req *peerpb.JoinRequest) string {
	mine := c.id.get().ClusterID
	switch {
	case !ValidNodeID(req.NodeId):
		return fmt.Sprintf("node id %q: want %s", req.NodeId, NodeIDRule)
	case req.ClusterId != "" && req.ClusterId != mine:
		return fmt.Sprintf("node %s belongs to the cluster %s, this is %s", req.NodeId, req.ClusterId, mine)
	case req.CommandVersion < raftfsm.Version:
		return fmt.Sprintf("node %s knows version %d of the commands, the cluster is at %d: it needs a newer bgrid-node", req.NodeId, req.CommandVersion, raftfsm.Version)
	}
	return differs(req.Settings, c.o.Settings, c.o.NodeID)
}

// leaderHint says who leads and where.
func (c *Cluster) leaderHint() (id, address string) {
	id, ok := c.Leader()
	if !ok || id == c.o.NodeID {
		return "", ""
	}
	return id, c.book.address(id)
}

func serverOf(servers []raft.Server, id string) *raft.Server {
	for i := range servers {
		if string(servers[i].ID) == id {
			return &servers[i]
		}
	}
	return nil
}
