package node

import (
	"context"
	"time"
)

// quorumPatience is how long a node without a quorum is still taken for one that
// serves: a change of the leader takes less.
const quorumPatience = 10 * time.Second

// sendAwayGrace is how long calls that are under way may take when clients are
// sent elsewhere.
const sendAwayGrace = 5 * time.Second

// followQuorum keeps the probes right, until ctx ends: a member is ready while it
// has a quorum and a vote. One that lost its disk, and has caught up but no vote
// yet, is not: whoever takes out one node after the other must not go on to the
// next. One that has had none for quorumPatience also sends its clients
// away (GOAWAY), and goes on to answer who stays.
func (n *Node) followQuorum(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		changed := n.cluster.Changed()
		ok, since := n.cluster.Quorum()
		ok = ok && n.votes()
		switch serving := n.serving.Load(); {
		case ok && !serving:
			n.logger.Info("ready: this node is a member of a cluster with a quorum")
			n.setServing(true)
		case !ok && serving && time.Since(since) >= quorumPatience:
			n.logger.Warn("not ready: this node has had no quorum for some time, or is no member; its clients are sent away", "since", since)
			n.setServing(false)
			if err := n.front.SendAway(sendAwayGrace); err != nil {
				n.logger.Error("send clients away", keyError, err)
			}
		}
		select {
		case <-changed:
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// votes tells whether this node is a full member.
func (n *Node) votes() bool {
	for _, m := range n.cluster.Members() {
		if m.ID == n.cluster.Self() {
			return m.Voter
		}
	}
	return false
}

// setServing says whether the node takes work. One that drains does not.
func (n *Node) setServing(yes bool) {
	n.serving.Store(yes)
	n.probes.set(yes && !n.draining.Load())
}
