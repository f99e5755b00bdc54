package sim

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// rpcTimeout is how long a node waits for another's answer.
const rpcTimeout = 2 * time.Second

// transport is a raft.Transport over the network. Addresses are hosts.
type transport struct {
	net      *network
	host     string
	consumer chan raft.RPC
	closed   chan struct{}
	once     sync.Once

	mu        sync.Mutex
	heartbeat func(raft.RPC)
}

var (
	_ raft.Transport   = (*transport)(nil)
	_ raft.WithPreVote = (*transport)(nil)
	_ raft.WithClose   = (*transport)(nil)
)

func newTransport(n *network, host string) *transport {
	return &transport{net: n, host: host, consumer: make(chan raft.RPC, 16), closed: make(chan struct{})}
}

// Close implements raft.WithClose.
func (t *transport) Close() error {
	t.net.detach(t.host, t)
	t.once.Do(func() { close(t.closed) })
	return nil
}

// Consumer implements raft.Transport, as do the following.
func (t *transport) Consumer() <-chan raft.RPC { return t.consumer }

func (t *transport) LocalAddr() raft.ServerAddress { return raft.ServerAddress(t.host) }

func (t *transport) EncodePeer(_ raft.ServerID, a raft.ServerAddress) []byte { return []byte(a) }

func (t *transport) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

func (t *transport) SetHeartbeatHandler(do func(raft.RPC)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heartbeat = do
}

func (t *transport) AppendEntries(_ raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return call(t, to, args, resp, nil, rpcTimeout)
}

func (t *transport) RequestVote(_ raft.ServerID, to raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return call(t, to, args, resp, nil, rpcTimeout)
}

func (t *transport) RequestPreVote(_ raft.ServerID, to raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return call(t, to, args, resp, nil, rpcTimeout)
}

func (t *transport) TimeoutNow(_ raft.ServerID, to raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return call(t, to, args, resp, nil, rpcTimeout)
}

func (t *transport) InstallSnapshot(_ raft.ServerID, to raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return call(t, to, args, resp, &stream{t, string(to), data}, time.Minute)
}

// call asks another node, and copies what it answers to resp.
func call[Request, Response any](t *transport, to raft.ServerAddress, args *Request, resp *Response, data io.Reader, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	host := string(to)
	if err := t.net.leg(ctx, t.host, host); err != nil {
		return err
	}
	answer, err := t.deliver(ctx, host, raft.RPC{Command: args, Reader: data})
	if err != nil {
		return err
	}
	if err := t.net.leg(ctx, host, t.host); err != nil {
		return err
	}
	if answer.Error != nil {
		return answer.Error
	}
	*resp = *answer.Response.(*Response)
	return nil
}

// deliver hands a request to a node and waits for what it says.
func (t *transport) deliver(ctx context.Context, host string, rpc raft.RPC) (raft.RPCResponse, error) {
	peer := t.net.peer(host)
	if peer == nil {
		return raft.RPCResponse{}, errRefused
	}
	answers := make(chan raft.RPCResponse, 1)
	rpc.RespChan = answers
	if beat := peer.fastPath(rpc); beat != nil {
		beat(rpc)
	} else {
		select {
		case peer.consumer <- rpc:
		case <-peer.closed:
			return raft.RPCResponse{}, errLost
		case <-t.closed:
			return raft.RPCResponse{}, errLost
		case <-ctx.Done():
			return raft.RPCResponse{}, ctx.Err()
		}
	}
	select {
	case answer := <-answers:
		return answer, nil
	case <-peer.closed:
		return raft.RPCResponse{}, errLost
	case <-t.closed:
		return raft.RPCResponse{}, errLost
	case <-ctx.Done():
		return raft.RPCResponse{}, ctx.Err()
	}
}

// fastPath returns the handler of heartbeats, for a heartbeat.
func (t *transport) fastPath(rpc raft.RPC) func(raft.RPC) {
	a, ok := rpc.Command.(*raft.AppendEntriesRequest)
	if !ok || a.Term == 0 || a.PrevLogEntry != 0 || a.PrevLogTerm != 0 || len(a.Entries) != 0 || a.LeaderCommitIndex != 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.heartbeat
}

// stream is the data of a snapshot on its way. It breaks with the link.
type stream struct {
	t  *transport
	to string
	r  io.Reader
}

func (s *stream) Read(p []byte) (int, error) {
	if err := s.t.net.leg(context.Background(), s.t.host, s.to); err != nil {
		return 0, errors.Join(err, io.ErrUnexpectedEOF)
	}
	return s.r.Read(p[:min(len(p), 16<<10)])
}
