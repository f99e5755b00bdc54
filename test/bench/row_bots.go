package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc"
)

// Figures that BuildGrid 0.9.1 had on two busy cores are in docs/performance.md.
const (
	leaseTargetMs  = 5
	botsTarget     = 1500 // actions/s
	waitTargetKB   = 32
	waitingClients = 10_000
	busyBots       = 8
	busyClients    = 32
)

// botRows measure the scheduler with workers that do nothing.
func botRows() []row {
	var rows []row
	for _, unmatchable := range []int{0, 140, 10_000} {
		behind := ""
		if unmatchable > 0 {
			behind = fmt.Sprintf(", %d unmatchable", unmatchable)
		}
		rows = append(rows,
			row{name: "Execute to lease, p50" + behind, unit: "ms", target: leaseTargetMs, limit: true, prepare: prepareLease(unmatchable)},
			row{name: "8 bots, 32 clients, durable" + behind, unit: "actions/s", target: botsTarget, least: true, prepare: prepareBots(unmatchable)})
	}
	return append(rows, row{name: "memory of each of 10,000 waiting clients", unit: "KB", target: waitTargetKB, limit: true, prepare: prepareWaiting})
}

// botNode starts a node without workers of its own, with so many queued actions
// that nobody can run. It is killed with the bench.
func (b *bench) botNode(ctx context.Context, unmatchable int) (*process, clients, error) {
	if p := b.botNodes[unmatchable]; p != nil {
		c, err := connect(p)
		return p, c, err
	}
	p, err := startNode(ctx, b.binary, filepath.Join(b.work, fmt.Sprint("bots-", unmatchable)), append([]string{"--slots", "0"}, b.args...))
	if err != nil {
		return nil, nil, err
	}
	if b.botNodes == nil {
		b.botNodes = map[int]*process{}
	}
	b.botNodes[unmatchable] = p
	c, err := connect(p)
	if err != nil {
		return nil, nil, err
	}
	streams, cancel := context.WithCancel(ctx)
	defer cancel() // the clients leave, their actions stay
	return p, c, wait(streams, c, unmatchable)
}

// wait has n clients wait for actions that nobody can run, until ctx ends.
func wait(ctx context.Context, c clients, n int) error {
	if n == 0 {
		return nil
	}
	actions, err := uploadActions(ctx, c[0], noRunner, n)
	if err != nil {
		return err
	}
	const atATime = 64
	began := make(chan error, n)
	room := make(chan struct{}, atATime)
	for i, action := range actions {
		go func() {
			room <- struct{}{}
			stream, err := repb.NewExecutionClient(c[i%len(c)]).Execute(ctx, &repb.ExecuteRequest{InstanceName: instance, ActionDigest: action})
			if err == nil {
				_, err = stream.Recv()
			}
			<-room
			began <- err
			for err == nil {
				_, err = stream.Recv()
			}
		}()
	}
	for range actions {
		if err := <-began; err != nil {
			return fmt.Errorf("wait for an action: %w", err)
		}
	}
	return nil
}

// prepareLease measures from Execute to the moment in which a waiting bot has the
// lease, one after the other.
func prepareLease(unmatchable int) func(context.Context, *bench) (floor, product measurement, err error) {
	return func(ctx context.Context, b *bench) (floor, product measurement, err error) {
		p, c, err := b.botNode(ctx, unmatchable)
		if err != nil {
			return nil, nil, err
		}
		return nil, func(ctx context.Context) (float64, error) {
			leased := make(chan time.Time, 1)
			stop, err := newBots(ctx, []string{p.address}, 1, leased)
			if err != nil {
				return 0, err
			}
			defer stop()
			actions, err := uploadActions(ctx, c[0], benchRunner, int(b.duration.Seconds()*100))
			if err != nil {
				return 0, err
			}
			var all []float64
			for _, action := range actions {
				time.Sleep(5 * time.Millisecond) // the bot calls again
				began := time.Now()
				if err := executeEmpty(ctx, c[1], action); err != nil {
					return 0, err
				}
				all = append(all, float64((<-leased).Sub(began).Microseconds())/1000)
			}
			return median(all), nil
		}, nil
	}
}

// prepareBots measures how many actions a second bots that do nothing get through.
func prepareBots(unmatchable int) func(context.Context, *bench) (floor, product measurement, err error) {
	return func(ctx context.Context, b *bench) (floor, product measurement, err error) {
		p, node, err := b.botNode(ctx, unmatchable)
		if err != nil {
			return nil, nil, err
		}
		_, nullProcess, err := b.servers(ctx)
		if err != nil {
			return nil, nil, err
		}
		null, err := connect(nullProcess)
		if err != nil {
			return nil, nil, err
		}
		floor = func(ctx context.Context) (float64, error) {
			return null.drive(ctx, b.duration, busyClients, func(ctx context.Context, conn *grpc.ClientConn, _ int) (float64, error) {
				_, err := execute(ctx, conn, digestOf([]byte("null")))
				return 1, err
			})
		}
		return floor, func(ctx context.Context) (float64, error) { return b.dispatch(ctx, []string{p.address}, node) }, nil
	}
}

// dispatch measures how many actions a second a grid gets through, with bots at its
// addresses and its clients.
func (b *bench) dispatch(ctx context.Context, addresses []string, c clients) (float64, error) {
	stop, err := newBots(ctx, addresses, busyBots, nil)
	if err != nil {
		return 0, err
	}
	defer stop()
	actions, err := uploadActions(ctx, c[0], benchRunner, int(b.duration.Seconds()*6000)+1000)
	if err != nil {
		return 0, err
	}
	var next atomic.Int64
	return c.drive(ctx, b.duration, busyClients, func(ctx context.Context, conn *grpc.ClientConn, _ int) (float64, error) {
		i := int(next.Add(1)) - 1
		if i >= len(actions) {
			return 0, errNoMore
		}
		return 1, executeEmpty(ctx, conn, actions[i])
	})
}

// executeEmpty executes an action on one of the bench's own workers.
func executeEmpty(ctx context.Context, conn *grpc.ClientConn, action *repb.Digest) error {
	response, err := execute(ctx, conn, action)
	if err == nil && (response.GetCachedResult() || string(response.GetResult().GetStdoutRaw()) != "done") {
		err = errors.New("the action was not run by a bot")
	}
	return err
}

// prepareWaiting measures by how much a node of its own grows.
func prepareWaiting(_ context.Context, b *bench) (floor, product measurement, err error) {
	n := 0
	return nil, func(ctx context.Context) (float64, error) {
		n++
		p, err := startNode(ctx, b.binary, filepath.Join(b.work, fmt.Sprint("waiting-", n)), append([]string{"--slots", "0"}, b.args...))
		if err != nil {
			return 0, err
		}
		defer p.kill()
		c, err := connect(p)
		if err != nil {
			return 0, err
		}
		defer c.close()
		before, err := p.anonymous()
		if err != nil {
			return 0, err
		}
		if err := wait(ctx, c, waitingClients); err != nil {
			return 0, err
		}
		time.Sleep(3 * time.Second) // what was for the uploads goes
		after, err := p.anonymous()
		return (after - before) * 1000 / waitingClients, err
	}, nil
}
