package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
)

// benchRunner is the property runner of the bench's own workers, and of actions
// that nobody can run.
const (
	benchRunner = "bench"
	noRunner    = "nobody"
)

// botPause is how long a worker waits after a call that failed.
const botPause = 10 * time.Millisecond

// benchBot is a worker that does nothing with its leases but end them: one at a
// time, with the next call, as BuildGrid's do.
type benchBot struct {
	client botspb.BotsClient
	bot    *botspb.BotSession
	leased chan<- time.Time // gets the moment of each lease; nil: nobody cares
}

// newBots starts n workers, each on a connection of its own to one of the
// addresses in turn, which work until the function returned is called.
func newBots(ctx context.Context, addresses []string, n int, leased chan<- time.Time) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var working sync.WaitGroup
	var conns []*grpc.ClientConn
	stop = func() {
		cancel()
		working.Wait()
		clients(conns).close()
	}
	for i := range n {
		conn, err := dial(addresses[i%len(addresses)])
		if err != nil {
			stop()
			return nil, err
		}
		conns = append(conns, conn)
		b := &benchBot{client: botspb.NewBotsClient(conn), leased: leased, bot: &botspb.BotSession{
			BotId: fmt.Sprint("bench-", i), Status: botspb.BotStatus_OK,
			Worker: &botspb.Worker{Devices: []*botspb.Device{{Properties: []*botspb.Device_Property{{Key: "runner", Value: benchRunner}}}}},
		}}
		if err := b.call(ctx, 3*time.Second); err != nil {
			stop()
			return nil, fmt.Errorf("open a bot session: %w", err)
		}
		working.Go(func() {
			for ctx.Err() == nil {
				if b.call(ctx, time.Minute) != nil {
					time.Sleep(botPause)
				}
			}
		})
	}
	return stop, nil
}

// call makes one call, and ends the leases that its reply has.
func (b *benchBot) call(ctx context.Context, deadline time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	var reply *botspb.BotSession
	var err error
	if b.bot.Name == "" {
		reply, err = b.client.CreateBotSession(ctx, &botspb.CreateBotSessionRequest{Parent: instance, BotSession: b.bot})
	} else {
		reply, err = b.client.UpdateBotSession(ctx, &botspb.UpdateBotSessionRequest{Name: b.bot.Name, BotSession: b.bot})
	}
	if err != nil {
		return err
	}
	result, err := anypb.New(&repb.ActionResult{StdoutRaw: []byte("done")})
	if err != nil {
		return err
	}
	for _, l := range reply.Leases {
		if b.leased != nil {
			b.leased <- time.Now()
		}
		l.State, l.Result, l.Payload = botspb.LeaseState_COMPLETED, result, nil
	}
	b.bot = reply
	return nil
}
