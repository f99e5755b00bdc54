package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// connections is the concurrency of every row: so many connections, and a
// caller on each unless the row says otherwise.
const connections = 8

// dial connects to a server; both servers are called in the same way.
func dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(4<<20), grpc.WithInitialConnWindowSize(8<<20),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20), grpc.MaxCallSendMsgSize(16<<20)))
}

// clients are the connections to one server, or to the nodes of one grid.
type clients []*grpc.ClientConn

func connect(p *process) (clients, error) { return connectTo([]string{p.address}) }

// connectTo spreads the connections over the nodes of one grid.
func connectTo(addresses []string) (clients, error) {
	var c clients
	for i := range connections {
		conn, err := dial(addresses[i%len(addresses)])
		if err != nil {
			return nil, err
		}
		c = append(c, conn)
	}
	return c, nil
}

func (c clients) close() {
	for _, conn := range c {
		_ = conn.Close()
	}
}

// call does one call as the given caller and returns how many units it was worth.
type call func(ctx context.Context, conn *grpc.ClientConn, caller int) (float64, error)

// drive repeats a call by several callers, spread over the connections, for a
// duration and returns units per second. Calls under way at the end are waited
// for and counted, with their time.
func (c clients) drive(ctx context.Context, d time.Duration, callers int, do call) (float64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		wg    sync.WaitGroup
		stop  atomic.Bool
		total = make([]float64, callers)
	)
	began := time.Now()
	for i := range callers {
		wg.Go(func() {
			for !stop.Load() && ctx.Err() == nil {
				n, err := do(ctx, c[i%len(c)], i)
				if errors.Is(err, errNoMore) {
					return
				}
				if err != nil {
					cancel(err)
					return
				}
				total[i] += n
			}
		})
	}
	timer := time.AfterFunc(d, func() { stop.Store(true) })
	wg.Wait()
	timer.Stop()
	elapsed := time.Since(began).Seconds()
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	var sum float64
	for _, n := range total {
		sum += n
	}
	return sum / elapsed, nil
}

// errNoMore ends a caller whose prepared work is used up.
var errNoMore = errors.New("no more prepared work")

// both returns the measurements of a row that does the same call on both servers.
func (b *bench) both(null, node clients, callers int, do call) (floor, product measurement) {
	on := func(c clients) measurement {
		return func(ctx context.Context) (float64, error) { return c.drive(ctx, b.duration, callers, do) }
	}
	return on(null), on(node)
}

// connectBoth starts what is needed and connects to both servers.
func (b *bench) connectBoth(ctx context.Context) (null, node clients, err error) {
	nodeProcess, nullProcess, err := b.servers(ctx)
	if err != nil {
		return nil, nil, err
	}
	if null, err = connect(nullProcess); err != nil {
		return nil, nil, err
	}
	node, err = connect(nodeProcess)
	return null, node, err
}
