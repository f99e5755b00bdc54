package link

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/bgrid-node/bgrid-node/node/cluster/peerpb"
)

// dialTime bounds one attempt of TCP to connect, the look-up of the name included.
const dialTime = 2 * time.Second

// Dialer connects to other nodes.
type Dialer struct {
	Self *Self
	Dial DialFunc // nil: TCP
}

// Connect opens a connection of that kind to HOST:PORT. want names the node that
// is meant; empty: whoever answers. The error wraps ErrToken, ErrProtocol,
// ErrNotPeer or a *Refusal when the other side was reached.
func (d *Dialer) Connect(ctx context.Context, addr string, kind Kind, want string) (*Conn, error) {
	open := d.Dial
	if open == nil {
		open = dialTCP
	}
	raw, err := open(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("connect to peer %s: %w", addr, err)
	}
	tune(raw)
	peer, err := bounded(ctx, raw, func() (*peerpb.Hello, error) { return d.Self.greet(raw, kind, want) })
	if err == nil && want != "" && peer.GetNodeId() != want {
		err = &Refusal{Code: peerpb.Verdict_NODE, Text: fmt.Sprintf("this is node %q, not %q", peer.GetNodeId(), want)}
	}
	if err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("greet peer %s: %w", addr, err)
	}
	return &Conn{Conn: raw, peer: peer}, nil
}

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTime}
	return d.DialContext(ctx, "tcp", addr)
}

// bounded runs a handshake, which ends when the connection is closed: after
// handshakeTime, or with ctx. Deadlines would do, but not every connection that a
// DialFunc may return has them.
func bounded(ctx context.Context, raw net.Conn, shake func() (*peerpb.Hello, error)) (*peerpb.Hello, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	peer, err := shake()
	if !stop() { // closed meanwhile, whatever the handshake says
		return nil, fmt.Errorf("the handshake was not answered in time: %w", context.Cause(ctx))
	}
	return peer, err
}
