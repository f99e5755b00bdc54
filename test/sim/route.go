package sim

import (
	"context"
	"errors"
	"fmt"
)

// errUnavailable is all that clients and workers may be told while the leader
// changes.
var errUnavailable = errors.New("unavailable")

// at calls a node from a host, and does there what it is asked. The call ends when
// the node dies, and then nobody knows what it did.
func (w *world) at(ctx context.Context, from string, n *node, do func(context.Context, *life) error) error {
	if err := w.net.leg(ctx, from, n.id); err != nil {
		return fmt.Errorf("%w: %w", errUnavailable, err)
	}
	l := n.running()
	if l == nil {
		return fmt.Errorf("%w: %w", errUnavailable, errRefused)
	}
	there, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	err := do(there, l)
	if l.ctx.Err() != nil {
		return fmt.Errorf("%w: %w", errUnavailable, errLost)
	}
	if lost := w.net.leg(ctx, n.id, from); lost != nil {
		return fmt.Errorf("%w: %w", errUnavailable, lost)
	}
	return err
}

// leader calls a node from a host, which passes the call on to the leader as it
// knows it.
func (w *world) leader(ctx context.Context, from string, via *node, do func(context.Context, *life, *term) error) error {
	return w.at(ctx, from, via, func(ctx context.Context, l *life) error {
		here := func(ctx context.Context, l *life) error {
			t := l.term.Load()
			if t == nil {
				return errUnavailable
			}
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(t.closing, cancel)()
			err := do(ctx, l, t)
			if err != nil && t.closing.Err() != nil {
				return fmt.Errorf("%w: %w", errUnavailable, err)
			}
			return err
		}
		id := l.raft.Leader()
		if id == via.id {
			return here(ctx, l)
		}
		for _, n := range w.nodes {
			if n.id == id {
				return w.at(ctx, via.id, n, here)
			}
		}
		return errUnavailable
	})
}

// readBarrier returns once the node has everything that was acknowledged before.
func (w *world) readBarrier(ctx context.Context, l *life) error {
	var index uint64
	read := func(ctx context.Context, leader *life) (err error) {
		index, err = leader.raft.ReadIndex(ctx)
		return err
	}
	err := errUnavailable
	for _, n := range w.nodes {
		switch {
		case n.id != l.raft.Leader():
		case n == l.n:
			err = read(ctx, l)
		default:
			err = w.at(ctx, l.n.id, n, read)
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUnavailable, err)
	}
	return l.raft.WaitApplied(ctx, index)
}
