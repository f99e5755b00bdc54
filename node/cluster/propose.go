package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/stats"

	"github.com/bgrid-node/bgrid-node/node/cluster/peerpb"
	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
)

// againAfter is how long to wait before a question goes again to a leader that
// says that it is none, or not any longer.
const againAfter = 10 * time.Millisecond

// Proposer returns the Proposer of this node: commands go to the leader, and have
// been applied here too when Propose returns. While no leader is known it waits.
func (c *Cluster) Proposer() raftfsm.Proposer { return forwarder{c} }

type forwarder struct{ c *Cluster }

// Propose implements raftfsm.Proposer.
func (f forwarder) Propose(ctx context.Context, entries ...*commandpb.Entry) (raftfsm.Result, error) {
	for {
		leader, err := f.c.awaitLeader(ctx)
		if err != nil {
			return raftfsm.Result{}, fmt.Errorf("propose: %w: %w", raftfsm.ErrNotProposed, err)
		}
		result, err := f.at(ctx, leader, entries)
		if !errors.Is(err, errAgain) {
			return result, err
		}
		if err := pause(ctx, againAfter); err != nil {
			return raftfsm.Result{}, fmt.Errorf("propose: %w: %w", raftfsm.ErrNotProposed, err)
		}
	}
}

// errAgain means that nothing was proposed, and that it may work elsewhere or
// later.
var errAgain = errors.New("the leader did not take the command")

// at proposes at one node.
func (f forwarder) at(ctx context.Context, leader string, entries []*commandpb.Entry) (raftfsm.Result, error) {
	if leader == f.c.o.NodeID {
		result, err := f.c.raft.Propose(ctx, entries...)
		if errors.Is(err, raftfsm.ErrNotProposed) && errors.Is(err, raftfsm.ErrNotLeader) {
			return result, errAgain
		}
		return result, err
	}
	r := f.c.remote(leader)
	if r == nil {
		return raftfsm.Result{}, errAgain
	}
	call, sent := noteSent(ctx)
	call, cancel := f.c.whileUp(call, leader)
	defer cancel()
	reply, err := peerpb.NewPeerClient(r.data).Propose(call, &peerpb.ProposeRequest{Entries: entries})
	switch {
	case err != nil && !sent.Load():
		if ctx.Err() != nil {
			return raftfsm.Result{}, fmt.Errorf("propose: %w: %w", raftfsm.ErrNotProposed, ctx.Err())
		}
		return raftfsm.Result{}, errAgain
	case err != nil && ctx.Err() != nil:
		return raftfsm.Result{}, fmt.Errorf("propose at node %s: %w", leader, ctx.Err())
	case err != nil: // it may have been committed; the status of the call is not the caller's
		return raftfsm.Result{}, fmt.Errorf("propose at node %s: %w: %v", leader, raftfsm.ErrLeadershipLost, err)
	case reply.NotLeader:
		return raftfsm.Result{}, errAgain
	}
	result, err := resultOf(reply, len(entries))
	if err != nil {
		return result, err
	}
	if err := f.c.raft.WaitApplied(ctx, result.Index); err != nil {
		return result, fmt.Errorf("propose: committed, but not applied here: %w", err)
	}
	return result, nil
}

// awaitLeader returns the leader once one is known that can be reached.
func (c *Cluster) awaitLeader(ctx context.Context) (string, error) {
	for {
		changed := c.changed.next()
		id, ok := c.Leader()
		if ok && c.Reachable(id) {
			return id, nil
		}
		select {
		case <-changed:
		case <-time.After(againAfter):
		case <-ctx.Done():
			return "", fmt.Errorf("wait for a leader: %w", ctx.Err())
		case <-c.ctx.Done():
			return "", ErrClosed
		}
	}
}

// whileUp returns a context that also ends when a member cannot be reached any
// longer: no call waits for packets that a broken network drops.
func (c *Cluster) whileUp(ctx context.Context, id string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for {
			changed := c.changed.next()
			if !c.Reachable(id) {
				cancel()
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, cancel
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// noteSent returns a context for one call, and whether anything of it went to a
// connection: a call that failed before can be made again.
func noteSent(ctx context.Context) (context.Context, *atomic.Bool) {
	sent := new(atomic.Bool)
	return context.WithValue(ctx, sentKey{}, sent), sent
}

type sentKey struct{}

// sentHandler is the part of gRPC that tells noteSent's flag.
type sentHandler struct{}

// TagRPC implements stats.Handler.
func (sentHandler) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler.
func (sentHandler) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if _, ok := s.(*stats.OutHeader); !ok {
		return
	}
	if sent, ok := ctx.Value(sentKey{}).(*atomic.Bool); ok {
		sent.Store(true)
	}
}

// TagConn implements stats.Handler.
func (sentHandler) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (sentHandler) HandleConn(context.Context, stats.ConnStats) {}
