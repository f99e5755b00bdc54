package sim

import (
	"context"
	"net"
	"sync"
	"time"
)

// streams are connections over the network, for what speaks through sockets.
type streams struct {
	net *network

	mu        sync.Mutex
	listeners map[string]*listener
}

// unacked is how long a connection lives whose bytes do not arrive: node/cluster/link
// asks that of TCP.
const unacked = 3 * time.Second

func newStreams(n *network) *streams { return &streams{net: n, listeners: map[string]*listener{}} }

// listener is a net.Listener of one host.
type listener struct {
	s        *streams
	host     string
	incoming chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

// listen takes connections for a host, instead of who did so before.
func (s *streams) listen(host string) *listener {
	l := &listener{s: s, host: host, incoming: make(chan net.Conn), closed: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners[host] = l
	return l
}

// Accept implements net.Listener, as do the following.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.incoming:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return hostAddr(l.host) }

// hostAddr is HOST:PORT of a host here.
type hostAddr string

// Network implements net.Addr, as does String.
func (hostAddr) Network() string { return "sim" }

func (a hostAddr) String() string { return string(a) + ":1" }

// dial connects a host with another's listener.
func (s *streams) dial(ctx context.Context, from, addr string) (net.Conn, error) {
	to, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	for s.net.isCut(link{from, to}) || s.net.isCut(link{to, from}) {
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
	if err := s.net.leg(ctx, from, to); err != nil {
		return nil, err
	}
	s.mu.Lock()
	l := s.listeners[to]
	s.mu.Unlock()
	if l == nil {
		return nil, errRefused
	}
	here, there := net.Pipe()
	select {
	case l.incoming <- &conn{there, s.net, link{to, from}}:
		return &conn{here, s.net, link{from, to}}, nil
	case <-l.closed:
		return nil, errRefused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// conn is one end of a connection. What it writes waits while its direction is cut.
type conn struct {
	net.Conn
	net  *network
	link link
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	for waited := time.Duration(0); c.net.isCut(c.link); waited += 20 * time.Millisecond {
		if waited >= unacked {
			_ = c.Conn.Close()
			return 0, errLost
		}
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(c.net.latency(c.link))
	return c.Conn.Write(p)
}

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return hostAddr(c.link.to) }

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return hostAddr(c.link.from) }
