package cluster

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// restPause is how long a whole grid is used between two faults.
const restPause = time.Second

// Around does a fault, with whatever belongs before and after it.
type Around func(kind Kind, do func() error) error

// Loop breaks one thing after another while clients use the grid, and then judges:
// so many faults, all in turn. Between two faults the grid becomes whole again, so
// that one fault at a time is all that it has to survive. Each fault, with the
// repair after it, is made by around, which may be nil; after, which may be nil, is
// called after the last. The grid has ended when Loop returns without an error.
func (g *Grid) Loop(ctx context.Context, dir string, count int, around Around, after func() error) error {
	load, err := StartLoad(ctx, filepath.Join(dir, "load"), g.Servers(), g.random)
	if err != nil {
		return err
	}
	defer load.Close()
	if around == nil {
		around = func(_ Kind, do func() error) error { return do() }
	}
	if err := g.rest(ctx, load); err != nil {
		return err
	}
	for i := range count {
		f := faults[i%len(faults)]
		err := around(f.kind, func() error {
			g.say("fault %d of %d: %s", i+1, count, f.name)
			if err := f.do(ctx, g); err != nil {
				return err
			}
			return g.rest(ctx, load)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	if after != nil {
		if err := after(); err != nil {
			return err
		}
	}
	if err := load.Judge(ctx); err != nil {
		return err
	}
	g.say("judged: %s", load)
	return g.Compare(ctx)
}

// rest waits until the grid is whole again, brings every blob back to all its
// copies, and lets the clients use it for a while.
func (g *Grid) rest(ctx context.Context, load *Load) error {
	began := time.Now()
	if err := g.Await(ctx); err != nil {
		return err
	}
	if err := load.Find(ctx); err != nil {
		return err
	}
	g.say("  whole again after %s; %s", time.Since(began).Round(time.Millisecond), load)
	select {
	case <-time.After(restPause):
	case <-ctx.Done():
		return ctx.Err()
	}
	return load.Complaints()
}
