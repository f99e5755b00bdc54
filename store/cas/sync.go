package cas

import (
	"context"
)

// Sync returns when every write that was acknowledged before the call survives a
// power loss. It costs next to nothing when there is nothing new; concurrent
// calls share their work. An error is final: what is on the disk is unknown then,
// and every later Sync returns it too.
func (s *Store) Sync(ctx context.Context) error {
	if s.closing.Load() && ctx.Err() != nil {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	for _, g := range s.ring() {
		if g.sealed.Load() {
			continue
		}
		if err := g.logs.sync(g.dir, g.data); err != nil {
			return err
		}
	}
	return nil
}
