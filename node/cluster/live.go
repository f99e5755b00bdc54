package cluster

import (
	"math/rand/v2"
	"time"
)

// live brings this node into a cluster and keeps it there, until Close.
func (c *Cluster) live() {
	for c.ctx.Err() == nil {
		pause := c.round()
		select {
		case <-c.ctx.Done():
		case <-c.wake:
		case <-time.After(pause + rand.N(pause/4+1)):
		}
	}
}

// round does what is next, and says how long to wait then.
func (c *Cluster) round() time.Duration {
	if c.id.get().Removed {
		c.trouble("this node was removed from the cluster: `bgrid-node cluster join` brings it back")
		return announceEvery
	}
	has, err := c.raft.HasState()
	if err != nil {
		c.trouble(err.Error())
		return roundEvery
	}
	if !has {
		c.form()
		if has, err = c.raft.HasState(); err != nil || !has {
			return min(roundEvery, c.o.Raft.ElectionTimeout)
		}
	}
	if err := c.settle(); err != nil {
		c.trouble(err.Error())
		return roundEvery
	}
	if len(c.Members()) == 0 {
		c.look()
	}
	c.once.Do(func() {
		c.log.Info("member of a cluster", "cluster", c.id.get().ClusterID, "members", len(c.Members()))
		close(c.formed)
	})
	c.trouble("")
	return c.keep()
}

// keep does what members do now and then.
func (c *Cluster) keep() time.Duration {
	if c.raft.IsLeader() {
		c.promote()
		return roundEvery
	}
	if c.allUp() {
		c.announce()
		return announceEvery
	}
	c.discover() // learns where those are that moved
	c.announce()
	return rediscoverEvery
}

// allUp tells whether every other member answers.
func (c *Cluster) allUp() bool {
	for _, m := range c.Members() {
		if !c.Reachable(m.ID) {
			return false
		}
	}
	return true
}

// trouble notes what keeps this node from being a member, and says it once.
func (c *Cluster) trouble(reason string) {
	c.mu.Lock()
	news := c.problem != reason
	c.problem = reason
	c.mu.Unlock()
	if news && reason != "" {
		c.log.Warn("not a member yet", "reason", reason)
	}
}

// nudge has live go on at once.
func (c *Cluster) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
