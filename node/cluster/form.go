package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/bgrid-node/bgrid-node/node/cluster/peerpb"
	"github.com/bgrid-node/bgrid-node/raftfsm"
)

// self is what this node answers to Discover.
func (c *Cluster) about() *peerpb.DiscoverReply {
	r := c.id.get()
	has, _ := c.raft.HasState()
	a := &peerpb.DiscoverReply{
		NodeId: c.o.NodeID, Address: c.o.Advertise, Instance: c.instance, ClusterId: r.ClusterID,
		Formed: has && r.ClusterID != "", Removed: r.Removed, HasData: c.hadData && !has, Expect: int32(c.o.Expect),
		CommandVersion: raftfsm.Version, Settings: maps.Clone(c.o.Settings),
	}
	if r.Grant != nil {
		a.GrantedCluster, a.GrantedTo = r.Grant.ClusterID, r.Grant.FounderID
	}
	if id, ok := c.Leader(); ok {
		a.LeaderId, a.LeaderAddress = id, c.book.address(id)
		if id == c.o.NodeID {
			a.LeaderAddress = c.o.Advertise
		}
	}
	return a
}

// discover asks all peers what they are. Those that cannot be asked are left out;
// err says why, for people.
func (c *Cluster) discover() (answers []*peerpb.DiscoverReply, err error) {
	if c.o.Peers == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, askTime)
	defer cancel()
	addrs, err := c.o.Peers.Lookup(ctx)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var asked sync.WaitGroup
	for _, addr := range slices.Compact(slices.Sorted(slices.Values(addrs))) {
		asked.Go(func() {
			a, failed := c.discoverAt(ctx, addr)
			mu.Lock()
			defer mu.Unlock()
			if failed != nil {
				err = errors.Join(err, failed)
				return
			}
			answers = append(answers, a)
		})
	}
	asked.Wait()
	return answers, err
}

func (c *Cluster) discoverAt(ctx context.Context, addr string) (a *peerpb.DiscoverReply, err error) {
	err = c.ask(ctx, addr, func(ctx context.Context, p peerpb.PeerClient) error {
		a, err = p.Discover(ctx, &peerpb.DiscoverRequest{})
		return err
	})
	if err == nil && a.NodeId != c.o.NodeID {
		c.book.note(a.NodeId, a.Address)
		c.book.know(a.NodeId, addr)
	}
	return a, err
}

// form takes one step towards a cluster.
func (c *Cluster) form() {
	answers, unasked := c.discover()
	s := decide(c.about(), answers)
	var err error
	switch s.kind {
	case stepFound:
		err = c.found(s.founders)
	case stepJoin:
		err = c.join(c.ctx, s.via)
	case stepWait:
		if unasked != nil {
			s.reason += "; " + strings.ReplaceAll(unasked.Error(), "\n", "; ")
		}
	}
	if err != nil {
		s.reason += ": " + err.Error()
	}
	if err != nil || s.kind == stepWait || s.kind == stepRefuse {
		c.trouble(s.reason)
	}
}

// found begins a cluster, once all other founders have promised to be of it.
func (c *Cluster) found(founders []*peerpb.DiscoverReply) error {
	g, err := c.propose(founders)
	if err != nil {
		return err
	}
	servers := make([]raft.Server, len(founders))
	for i, f := range founders {
		servers[i] = raft.Server{ID: raft.ServerID(f.NodeId), Address: raft.ServerAddress(f.Address)}
		if f.NodeId == c.o.NodeID {
			continue
		}
		if err := c.askGrant(f, g); err != nil {
			return err
		}
	}
	if err := c.raft.Bootstrap(servers); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	c.log.Info("founded a cluster", "cluster", g.ClusterID, "members", names(founders))
	return c.settle()
}

// propose makes the promise to itself: from then on this node founds no other
// cluster, unless it withdraws.
func (c *Cluster) propose(founders []*peerpb.DiscoverReply) (*grant, error) {
	held := c.id.get().Grant
	if held != nil && held.FounderID != c.o.NodeID {
		if err := c.stillHeld(held); err != nil {
			return nil, err
		}
	}
	var g *grant
	err := c.id.update(func(r *record) error {
		if r.Grant != held {
			return errors.New("another node was promised a cluster just now")
		}
		if held == nil || held.FounderID != c.o.NodeID {
			r.Grant = &grant{ClusterID: uuid.NewString(), FounderID: c.o.NodeID, FounderAddress: c.o.Advertise}
		}
		g = r.Grant
		return nil
	})
	return g, err
}

// askGrant gets one founder's promise. When it promised itself to a node that
// founds before this one, this node gives up its own attempt.
func (c *Cluster) askGrant(f *peerpb.DiscoverReply, g *grant) error {
	var reply *peerpb.GrantReply
	err := c.ask(c.ctx, f.Address, func(ctx context.Context, p peerpb.PeerClient) (err error) {
		reply, err = p.Grant(ctx, &peerpb.GrantRequest{ClusterId: g.ClusterID, FounderId: g.FounderID, FounderAddress: g.FounderAddress})
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("ask node %s to found it together: %w", f.NodeId, err)
	case reply.Granted:
		return nil
	}
	if !c.hadData && reply.HeldBy != "" && reply.HeldBy < c.o.NodeID {
		err = c.id.update(func(r *record) error {
			if r.Grant == g {
				r.Grant = nil
			}
			return nil
		})
	}
	return errors.Join(fmt.Errorf("node %s does not take part: %s", f.NodeId, reply.Reason), err)
}

// grant answers a founder that asks for this node's promise.
func (c *Cluster) grant(req *peerpb.GrantRequest) (*peerpb.GrantReply, error) {
	has, err := c.raft.HasState()
	if err != nil {
		return nil, err
	}
	r := c.id.get()
	if has || r.ClusterID != "" {
		return &peerpb.GrantReply{Reason: "it is a member of a cluster"}, nil
	}
	if c.hadData {
		return &peerpb.GrantReply{Reason: "it has jobs or results of its own"}, nil
	}
	held := r.Grant
	if held != nil && held.ClusterID != req.ClusterId && held.FounderID != req.FounderId {
		if err := c.stillHeld(held); err != nil {
			return &peerpb.GrantReply{HeldBy: held.FounderID, Reason: err.Error()}, nil
		}
	}
	err = c.id.update(func(r *record) error {
		if r.Grant != held || r.ClusterID != "" {
			return errors.New("another node was promised a cluster just now")
		}
		if held == nil || held.ClusterID != req.ClusterId {
			r.Grant = &grant{ClusterID: req.ClusterId, FounderID: req.FounderId, FounderAddress: req.FounderAddress}
		}
		return nil
	})
	if err != nil {
		return &peerpb.GrantReply{Reason: err.Error()}, nil
	}
	return &peerpb.GrantReply{Granted: true}, nil
}

// stillHeld returns nil when the founder that a promise was given to says itself
// that it founds another cluster, or none: then the promise binds nobody.
func (c *Cluster) stillHeld(g *grant) error {
	if g.FounderID == c.o.NodeID {
		return fmt.Errorf("it means to found a cluster itself, as node %s", g.FounderID)
	}
	held := fmt.Errorf("it promised node %s to found a cluster with it", g.FounderID)
	for _, addr := range append(c.book.addresses(g.FounderID), g.FounderAddress) {
		a, err := c.discoverAt(c.ctx, addr)
		if err != nil || a.NodeId != g.FounderID {
			continue
		}
		if !a.Formed && a.ClusterId == "" && a.GrantedCluster != g.ClusterID {
			return nil
		}
		return held
	}
	return fmt.Errorf("%w, and cannot ask that node now", held)
}
