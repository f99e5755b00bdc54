package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/bgrid-node/bgrid-node/node/cluster/link"
	"github.com/bgrid-node/bgrid-node/node/cluster/peerpb"
)

// dialMember connects to a node wherever it is now: where it said last, or where
// the log's configuration has it.
func (c *Cluster) dialMember(ctx context.Context, id string, kind link.Kind) (*link.Conn, error) {
	var failed error
	for _, addr := range c.book.addresses(id) {
		conn, err := c.dialer.Connect(ctx, addr, kind, id)
		if err == nil {
			return conn, nil
		}
		failed = errors.Join(failed, err)
	}
	if failed == nil {
		failed = fmt.Errorf("connect to node %s: no address is known", id)
	}
	return nil, failed
}

// openConn returns gRPC over connections that dial opens.
func openConn(name string, dial func(context.Context) (net.Conn, error), more ...grpc.DialOption) (*grpc.ClientConn, error) {
	options := append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the link has authenticated both sides
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) }),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 500 * time.Millisecond},
			MinConnectTimeout: 3 * time.Second,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithNoProxy(),
	}, more...)
	conn, err := grpc.NewClient("passthrough:///"+name, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", name, err)
	}
	return conn, nil
}

// ask puts one question to whoever is at an address, member or not.
func (c *Cluster) ask(ctx context.Context, addr string, question func(context.Context, peerpb.PeerClient) error) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return askAt(ctx, c.dialer, addr, question)
}

// askAt puts one question over a connection of its own: what keeps it from being
// opened is told as it is.
func askAt(ctx context.Context, d *link.Dialer, addr string, question func(context.Context, peerpb.PeerClient) error) error {
	first, err := d.Connect(ctx, addr, link.Open, "")
	if err != nil {
		return err
	}
	once := make(chan net.Conn, 1)
	once <- first
	conn, err := openConn(addr, func(context.Context) (net.Conn, error) {
		select {
		case c := <-once:
			return c, nil
		default:
			return nil, errors.New("the connection broke")
		}
	})
	if err != nil {
		return errors.Join(err, first.Close())
	}
	defer func() {
		_ = conn.Close()
		_ = first.Close() // also when gRPC never took it
	}()
	return question(ctx, peerpb.NewPeerClient(conn))
}
