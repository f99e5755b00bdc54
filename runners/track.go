package runners

import (
	"net"
	"sync"
)

// Tracked is a listener that knows the connections which came by it.
type Tracked struct {
	net.Listener

	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil: all are to be closed
}

// Track returns l as a Tracked.
func Track(l net.Listener) *Tracked {
	return &Tracked{Listener: l, conns: map[net.Conn]struct{}{}}
}

// Accept implements net.Listener.
func (t *Tracked) Accept() (net.Conn, error) {
	c, err := t.Listener.Accept()
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conns == nil {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	t.conns[c] = struct{}{}
	return &trackedConn{c, t}, nil
}

// CloseAll closes the connections that are left, and all that come later.
func (t *Tracked) CloseAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.conns {
		_ = c.Close()
	}
	t.conns = nil
}

type trackedConn struct {
	net.Conn
	t *Tracked
}

// Close implements net.Conn.
func (c *trackedConn) Close() error {
	c.t.mu.Lock()
	delete(c.t.conns, c.Conn)
	c.t.mu.Unlock()
	return c.Conn.Close()
}
