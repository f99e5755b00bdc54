package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/bgrid-node/bgrid-node/node/cluster/link"
)

// streamLayer carries raft's messages over the link. Its connections end when
// this node stops to take part.
type streamLayer struct {
	c        *Cluster
	accepted chan net.Conn
	done     chan struct{}

	mu     sync.Mutex
	open   map[*streamConn]struct{}
	closed bool
}

func newStreamLayer(c *Cluster) *streamLayer {
	return &streamLayer{c: c, accepted: make(chan net.Conn), done: make(chan struct{}), open: map[*streamConn]struct{}{}}
}

// ServerAddr implements raft.ServerAddressProvider: the address names the node,
// so that Dial can find it and check that it is the one.
func (s *streamLayer) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	return raft.ServerAddress(string(id) + "@"), nil
}

// Dial implements raft.StreamLayer.
func (s *streamLayer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	id, _, ok := strings.Cut(string(address), "@")
	if !ok {
		return nil, fmt.Errorf("dial raft: %q names no node", address)
	}
	if s.c.id.get().Removed {
		return nil, errors.New("dial raft: this node was removed from the cluster")
	}
	ctx, cancel := context.WithTimeout(s.c.ctx, timeout)
	defer cancel()
	conn, err := s.c.dialMember(ctx, id, link.Raft)
	if err != nil {
		return nil, err
	}
	return s.keep(conn)
}

// accept hands connections of the link to raft.
func (s *streamLayer) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		kept, err := s.keep(conn)
		if err != nil {
			continue
		}
		select {
		case s.accepted <- kept:
		case <-s.done:
			_ = kept.Close()
			return
		}
	}
}

// Accept implements net.Listener.
func (s *streamLayer) Accept() (net.Conn, error) {
	select {
	case c := <-s.accepted:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener: nothing is accepted or dialled from then on, and
// what is open breaks.
func (s *streamLayer) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.done)
	}
	s.mu.Unlock()
	s.drop()
	return nil
}

// Addr implements net.Listener.
func (s *streamLayer) Addr() net.Addr { return nodeAddr(s.c.o.NodeID + "@") }

// nodeAddr is a node's name as an address.
type nodeAddr string

func (nodeAddr) Network() string  { return "peer" }
func (a nodeAddr) String() string { return string(a) }

// keep notes an open connection.
func (s *streamLayer) keep(conn net.Conn) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	k := &streamConn{Conn: conn, of: s}
	s.open[k] = struct{}{}
	return k, nil
}

// drop closes all connections.
func (s *streamLayer) drop() {
	s.mu.Lock()
	all := s.open
	s.open = map[*streamConn]struct{}{}
	s.mu.Unlock()
	for k := range all {
		_ = k.Conn.Close()
	}
}

// streamConn is a connection that its layer knows of.
type streamConn struct {
	net.Conn
	of *streamLayer
}

func (k *streamConn) Close() error {
	k.of.mu.Lock()
	delete(k.of.open, k)
	k.of.mu.Unlock()
	return k.Conn.Close()
}
