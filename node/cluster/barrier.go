package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bgrid-node/bgrid-node/node/cluster/peerpb"
	"github.com/bgrid-node/bgrid-node/raftfsm"
)

// ReadBarrier returns once everything that was acknowledged before the call, by
// any node, is visible in this node's stores. Concurrent calls share a question to
// the leader. While no leader is known it waits, until ctx ends or the node has
// been without a quorum for 10 s: ErrNoQuorum.
func (c *Cluster) ReadBarrier(ctx context.Context) error {
	round := c.reads.join()
	defer c.reads.leave(round)
	select {
	case <-round.done:
	case <-ctx.Done():
		return fmt.Errorf("read barrier: %w", ctx.Err())
	}
	if round.err != nil {
		return fmt.Errorf("read barrier: %w", round.err)
	}
	if err := c.raft.WaitApplied(ctx, round.index); err != nil {
		return fmt.Errorf("read barrier: %w", err)
	}
	return nil
}

// readers groups calls of ReadBarrier: those that arrive while a question is
// under way share the next one, since the answer to that one may be older than
// what they must see.
type readers struct {
	c       *Cluster
	mu      sync.Mutex
	next    *readRound // nil: nobody waits for one
	running bool
}

type readRound struct {
	ctx    context.Context // ends when nobody waits any longer
	cancel context.CancelFunc
	users  int // guarded by readers.mu
	done   chan struct{}
	index  uint64
	err    error
}

func (r *readers) join() *readRound {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil || r.next.ctx.Err() != nil {
		r.next = &readRound{done: make(chan struct{})}
		r.next.ctx, r.next.cancel = context.WithCancel(r.c.ctx)
	}
	r.next.users++
	if !r.running {
		r.running = true
		go r.run()
	}
	return r.next
}

func (r *readers) leave(round *readRound) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if round.users--; round.users == 0 {
		round.cancel()
	}
}

func (r *readers) run() {
	for {
		r.mu.Lock()
		round := r.next
		r.next, r.running = nil, round != nil
		r.mu.Unlock()
		if round == nil {
			return
		}
		round.index, round.err = r.c.readIndex(round.ctx)
		close(round.done)
	}
}

// readIndex asks the leader, whoever it is by then, until it gets an answer.
func (c *Cluster) readIndex(ctx context.Context) (uint64, error) {
	for {
		index, err := c.readIndexOnce(ctx)
		if err == nil {
			return index, nil
		}
		if ctx.Err() != nil {
			if c.ctx.Err() != nil {
				err = ErrClosed
			}
			return 0, err
		}
		if ok, since := c.Quorum(); !ok && time.Since(since) > c.patience {
			return 0, fmt.Errorf("%w since %s: %v", ErrNoQuorum, since.Format(time.RFC3339), err)
		}
		if err := pause(ctx, againAfter); err != nil {
			return 0, err
		}
	}
}

// readIndexOnce asks one node once.
func (c *Cluster) readIndexOnce(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	leader, err := c.awaitLeader(ctx)
	if err != nil {
		return 0, err
	}
	if leader == c.o.NodeID {
		return c.raft.ReadIndex(ctx)
	}
	r := c.remote(leader)
	if r == nil {
		return 0, errAgain
	}
	ctx, done := c.whileUp(ctx, leader)
	defer done()
	reply, err := peerpb.NewPeerClient(r.data).ReadIndex(ctx, &peerpb.ReadIndexRequest{})
	switch {
	case err != nil:
		return 0, fmt.Errorf("ask node %s: %w", leader, err)
	case reply.NotLeader:
		return 0, errors.Join(errAgain, raftfsm.ErrNotLeader)
	}
	return reply.Index, nil
}
