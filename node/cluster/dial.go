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

// nextAddress is how long one address of a node may take to answer before another
// is tried beside it.
const nextAddress = 250 * time.Millisecond

// dialMember connects to a node wherever it is now: where it said last, or where
// the log's configuration has it. The first address that answers as that node wins.
func (c *Cluster) dialMember(ctx context.Context, id string, kind link.Kind) (*link.Conn, error) {
	addrs := c.book.addresses(id)
	if len(addrs) == 0 {
		return nil, fmt.Errorf("connect to node %s: no address is known", id)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type outcome struct {
		conn *link.Conn
		err  error
	}
	outcomes := make(chan outcome, len(addrs))
	var failed error
	for begun, ended := 0, 0; ended < len(addrs); {
		var next <-chan time.Time
		if begun < len(addrs) {
			addr := addrs[begun]
			begun++
			go func() {
				conn, err := c.dialer.Connect(ctx, addr, kind, id)
				outcomes <- outcome{conn, err}
			}()
			next = time.After(nextAddress)
		}
		select {
		case o := <-outcomes:
			ended++
			if o.err != nil {
				failed = errors.Join(failed, o.err)
				continue
			}
			go func() { // the others, of which one may have got through
				for ; ended < begun; ended++ {
					if late := <-outcomes; late.conn != nil {
						_ = late.conn.Close()
					}
				}
			}()
			return o.conn, nil
		case <-next:
		}
	}
	return nil, failed
}

// openConn returns gRPC over connections that dial opens.
func openConn(name string, dial func(context.Context) (net.Conn, error), more ...grpc.DialOption) (*grpc.ClientConn, error) {
	options := append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the link has authenticated both sides
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) }),
		grpc.WithConnectParams(grpc.ConnectParams{
			// Short for good: ResetConnectBackoff, by which a member that is back could be
			// met at once, races with the connections that it walks over (gRPC 1.85.0).
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 200 * time.Millisecond},
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
