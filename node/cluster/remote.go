package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/bgrid-node/bgrid-node/node/cluster/link"
	"github.com/bgrid-node/bgrid-node/node/cluster/peerpb"
)

// How a silent member is noticed.
const (
	pingEvery   = 300 * time.Millisecond
	silentAfter = time.Second // without an answer it cannot be reached
)

// remote is another member, with the connections to it.
type remote struct {
	c    *Cluster
	id   string
	data *grpc.ClientConn // everything but pings
	ping *grpc.ClientConn // its own: pings do not wait behind blobs

	cancel  context.CancelFunc
	done    chan struct{}
	refused atomic.Bool // the last attempt to connect was answered by a refusal

	mu      sync.Mutex
	up      bool
	heard   time.Time         // the last answer; zero: never
	last    *peerpb.PingReply // nil: never
	trouble string            // why it is not up
}

// newRemote begins to ping a member.
func (c *Cluster) newRemote(id string) (*remote, error) {
	r := &remote{c: c, id: id, done: make(chan struct{})}
	dial := func(ctx context.Context) (net.Conn, error) {
		conn, err := c.dialMember(ctx, id, link.Member)
		r.dialled(err)
		return conn, err
	}
	var err error
	more := append([]grpc.DialOption{grpc.WithStatsHandler(sentHandler{})}, c.o.DialOptions...)
	if r.data, err = openConn(id, dial, more...); err != nil {
		return nil, err
	}
	if r.ping, err = openConn(id, dial); err != nil {
		return nil, errors.Join(err, r.data.Close())
	}
	ctx, cancel := context.WithCancel(c.ctx)
	r.cancel = cancel
	go r.run(ctx)
	return r, nil
}

func (r *remote) close() {
	r.cancel()
	_ = r.data.Close()
	_ = r.ping.Close()
	<-r.done
}

// dialled notes how an attempt to connect went: gRPC only says that it failed.
func (r *remote) dialled(err error) {
	var refusal *link.Refusal
	r.refused.Store(errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &refusal) ||
		errors.Is(err, link.ErrToken) || errors.Is(err, link.ErrProtocol))
	if err == nil {
		return
	}
	r.mu.Lock()
	changed := r.trouble != err.Error()
	r.trouble = err.Error()
	r.mu.Unlock()
	if changed && errors.As(err, &refusal) && r.c.id.get().ClusterID != "" { // one that has no cluster yet is told so
		r.c.log.Warn("a member refuses this node", "node", r.id, "reason", refusal.Text)
	}
}

// run pings until ctx ends: each pingEvery, and at once when the connection breaks
// or is there again.
func (r *remote) run(ctx context.Context) {
	defer close(r.done)
	client := peerpb.NewPeerClient(r.ping)
	for ctx.Err() == nil {
		began := time.Now()
		r.once(ctx, client)
		rest, cancel := context.WithDeadline(ctx, began.Add(pingEvery))
		ready := r.ping.GetState() == connectivity.Ready
		for is := ready; is == ready; {
			state := r.ping.GetState()
			if is = state == connectivity.Ready; is == ready && !r.ping.WaitForStateChange(rest, state) {
				break
			}
		}
		cancel()
	}
}

// once sends one ping. Its answer may take until the member counts as silent.
func (r *remote) once(ctx context.Context, client peerpb.PeerClient) {
	r.mu.Lock()
	limit := max(pingEvery, time.Until(r.heard.Add(silentAfter)))
	r.mu.Unlock()
	call, cancel := context.WithTimeout(ctx, limit)
	reply, err := client.Ping(call, &peerpb.PingRequest{})
	cancel()
	if ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	was := r.up
	switch {
	case err == nil:
		r.up, r.heard, r.last, r.trouble = true, time.Now(), reply, ""
	case r.refused.Load() || time.Since(r.heard) >= silentAfter:
		r.up = false
		if r.trouble == "" {
			r.trouble = fmt.Sprintf("no answer for %s", silentAfter)
		}
	}
	is, trouble := r.up, r.trouble
	r.mu.Unlock()
	if was == is {
		return
	}
	if is {
		r.c.log.Info("member can be reached", "node", r.id)
	} else {
		r.c.log.Warn("member cannot be reached", "node", r.id, "reason", trouble)
		r.c.nudge() // perhaps it moved
	}
	r.c.changed.fire()
}

// state returns what the last pings told.
func (r *remote) state() (up bool, last *peerpb.PingReply, heard time.Time, trouble string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.up, r.last, r.heard, r.trouble
}

// Conn returns a connection to another member, which stays the cluster's. Calls
// fail with UNAVAILABLE while the member cannot be reached. ErrNotMember for one
// that is none, and for this node.
func (c *Cluster) Conn(id string) (*grpc.ClientConn, error) {
	if r := c.remote(id); r != nil {
		return r.data, nil
	}
	return nil, fmt.Errorf("connect to node %s: %w", id, ErrNotMember)
}

// Reachable tells whether a member answers: this node does, one that is no member
// does not.
func (c *Cluster) Reachable(id string) bool {
	if id == c.o.NodeID {
		return true
	}
	r := c.remote(id)
	if r == nil {
		return false
	}
	up, _, _, _ := r.state()
	return up
}

func (c *Cluster) remote(id string) *remote {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remotes[id]
}

// setRemotes keeps a remote for each other member, and for no one else.
func (c *Cluster) setRemotes(members []Member) {
	want := map[string]bool{}
	for _, m := range members {
		if m.ID != c.o.NodeID {
			want[m.ID] = true
		}
	}
	var gone []*remote
	c.mu.Lock()
	for id, r := range c.remotes {
		if !want[id] {
			gone = append(gone, r)
			delete(c.remotes, id)
		}
	}
	for id := range want {
		if c.remotes[id] != nil || c.ctx.Err() != nil {
			continue
		}
		r, err := c.newRemote(id)
		if err != nil {
			c.log.Error("connect to member", "node", id, "error", err)
			continue
		}
		c.remotes[id] = r
	}
	c.mu.Unlock()
	for _, r := range gone {
		r.close()
	}
}
