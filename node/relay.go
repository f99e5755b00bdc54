package node

import (
	"net"
	"sync"
)

// relay hands the connections of one listener to one server after the other: a
// gRPC server that said GOAWAY closes its listener, and the address must go on.
type relay struct {
	real  net.Listener
	conns chan net.Conn
	ended chan struct{} // closed when real is
	err   error         // why, set before ended is closed
}

// newRelay begins to accept from l, until that is closed.
func newRelay(l net.Listener) *relay {
	r := &relay{real: l, conns: make(chan net.Conn), ended: make(chan struct{})}
	go r.run()
	return r
}

func (r *relay) run() {
	for {
		c, err := r.real.Accept()
		if err != nil {
			r.err = err
			close(r.ended)
			return
		}
		select {
		case r.conns <- c:
		case <-r.ended:
		}
	}
}

// listener returns a listener whose Close leaves the real one alone.
func (r *relay) listener() net.Listener { return &relayed{relay: r, closed: make(chan struct{})} }

type relayed struct {
	relay  *relay
	once   sync.Once
	closed chan struct{}
}

// Accept implements net.Listener.
func (l *relayed) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.relay.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-l.relay.ended:
		return nil, l.relay.err
	}
}

// Close implements net.Listener.
func (l *relayed) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *relayed) Addr() net.Addr { return l.relay.real.Addr() }
