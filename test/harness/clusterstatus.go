package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bgrid-node/bgrid-node/node/cluster"
)

// statusPatience bounds one question to one node.
const statusPatience = 5 * time.Second

// Status asks running members how the cluster is, as `bgrid-node cluster status`
// does, and returns the answer of the latest term among those that see a leader
// and a quorum.
func (c *Cluster) Status(ctx context.Context) (cluster.Status, error) {
	var best cluster.Status
	failed := []error{errors.New("ask for the status: no node sees a leader and a quorum")}
	for _, m := range c.Members {
		if !m.Running() {
			continue
		}
		s, err := c.StatusOf(ctx, m)
		switch {
		case err != nil:
			failed = append(failed, fmt.Errorf("%s: %w", m.ID, err))
		case s.Leader != "" && s.Quorum && s.Term >= best.Term:
			best = s
		}
	}
	if best.Leader == "" {
		return best, errors.Join(failed...)
	}
	return best, nil
}

// StatusOf is Status as one member sees it, whatever that is.
func (c *Cluster) StatusOf(ctx context.Context, m *Member) (cluster.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	control, err := cluster.NewControl(m.Peer, c.token, "test", nil)
	if err != nil {
		return cluster.Status{}, err
	}
	return control.Status(ctx)
}

// AwaitLevel returns when all members have applied as much as each other.
func (c *Cluster) AwaitLevel(ctx context.Context) (cluster.Status, error) {
	for began := time.Now(); ; {
		s, err := c.Status(ctx)
		if err == nil && level(s, len(c.Members)) {
			return s, nil
		}
		if time.Since(began) > formPatience {
			return s, errors.Join(fmt.Errorf("members are not level within %s: %+v", formPatience, s), err)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
}

func level(s cluster.Status, n int) bool {
	for _, m := range s.Members {
		if !m.Voter || m.Applied == 0 || m.Applied != s.Members[0].Applied {
			return false
		}
	}
	return len(s.Members) == n
}
