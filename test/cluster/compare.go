package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/bgrid-node/bgrid-node/test/harness"
)

// Compare ends the grid and looks at what its nodes have on their disks: fsck finds
// nothing, and all have the same state at the same place of the log.
func (g *Grid) Compare(ctx context.Context) error {
	for _, w := range g.Workers {
		w.Kill() // long before their expiry, so that nothing else changes
	}
	status, err := g.AwaitLevel(ctx)
	if err != nil {
		return err
	}
	for _, m := range g.Members {
		m.Kill()
	}
	var all []harness.Checkup
	for _, m := range g.Members {
		c, err := harness.Fsck(ctx, g.Binary(), m.DataDir())
		if err != nil {
			return err
		}
		all = append(all, c)
		g.say("%s: %d blobs, index %d, state %.12s", m.ID, c.Blobs, c.Index, c.State)
	}
	return named(fmt.Sprintf("after the end, all level in term %d", status.Term), sameState(all))
}

// sameState says what is wrong with nodes that should be equal.
func sameState(all []harness.Checkup) error {
	var wrong []error
	for i, c := range all {
		for _, f := range c.Findings {
			wrong = append(wrong, fmt.Errorf("n%d: %s: %s", i+1, f.Store, f.What))
		}
		if c.Index != all[0].Index || c.State != all[0].State || c.State == "" {
			wrong = append(wrong, fmt.Errorf("n%d has state %.12q at index %d, n1 has %.12q at %d", i+1, c.State, c.Index, all[0].State, all[0].Index))
		}
	}
	return errors.Join(wrong...)
}
