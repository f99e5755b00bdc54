package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/test/harness"
)

const (
	gridNodes     = 3
	takeOverLimit = 2 // s
)

// clusterRows measure a grid of three nodes on this machine. Their floor is a
// single node that does the same.
func clusterRows() []row {
	rows := []row{{name: "SIGKILL of the leader to the next lease", unit: "s", target: takeOverLimit, limit: true, prepare: prepareTakeOver}}
	for _, queued := range []int{0, 10_000, 100_000} {
		name := "3 nodes beside one: 8 bots, 32 clients"
		if queued > 0 {
			name += fmt.Sprintf(", %d queued", queued)
		}
		rows = append(rows, row{name: name, unit: "actions/s", prepare: prepareGridBots(queued)})
	}
	return rows
}

// grid starts three nodes without workers. They are killed with the bench.
func (b *bench) grid(ctx context.Context) (*harness.Cluster, error) {
	c, err := harness.StartCluster(ctx, harness.ClusterOptions{
		Binary: b.binary, Dir: filepath.Join(b.work, fmt.Sprint("grid-", len(b.grids))), Places: make([]harness.Place, gridNodes),
		Args: append([]string{"--slots", "0", "--log-level", "warn", "--cas-max-size", "40GiB"}, b.args...),
	})
	if err == nil {
		b.grids = append(b.grids, c)
	}
	return c, err
}

// prepareGridBots measures how many actions a second bots that do nothing get
// through, spread over the nodes as the clients are; the floor is the same with one
// node. Both have so many actions queued that nobody can run.
func prepareGridBots(queued int) func(context.Context, *bench) (floor, product measurement, err error) {
	return func(ctx context.Context, b *bench) (floor, product measurement, err error) {
		p, err := startNode(ctx, b.binary, filepath.Join(b.work, fmt.Sprint("one-", queued)), append([]string{"--slots", "0"}, b.args...))
		if err != nil {
			return nil, nil, err
		}
		b.others = append(b.others, p)
		c, err := b.grid(ctx)
		if err != nil {
			return nil, nil, err
		}
		var both [2]measurement
		for i, addresses := range [][]string{{p.address}, c.Servers()} {
			conns, err := connectTo(addresses)
			if err != nil {
				return nil, nil, err
			}
			if err := enqueue(ctx, conns, queued); err != nil {
				return nil, nil, err
			}
			both[i] = func(ctx context.Context) (float64, error) { return b.dispatch(ctx, addresses, conns) }
		}
		return both[0], both[1], nil
	}
}

// enqueue submits n actions that nobody can run; their clients leave.
func enqueue(ctx context.Context, c clients, n int) error {
	up := uploader{conn: c[0]}
	command, err := up.message(ctx, copyCommand())
	if err != nil {
		return err
	}
	root, err := up.message(ctx, &repb.Directory{})
	if err != nil {
		return err
	}
	platform := &repb.Platform{Properties: []*repb.Platform_Property{{Name: "runner", Value: noRunner}}}
	actions := make([]*repb.Digest, n)
	for i := range actions {
		action := &repb.Action{CommandDigest: command, InputRootDigest: root, Platform: platform, Salt: fmt.Append(nil, i)}
		if actions[i], err = up.message(ctx, action); err != nil {
			return err
		}
	}
	if err := up.flush(ctx); err != nil {
		return err
	}
	submitting, ctx := errgroup.WithContext(ctx)
	submitting.SetLimit(64)
	for i, action := range actions {
		submitting.Go(func() error {
			ctx, leave := context.WithCancel(ctx)
			defer leave()
			stream, err := repb.NewExecutionClient(c[i%len(c)]).Execute(ctx, &repb.ExecuteRequest{InstanceName: instance, ActionDigest: action})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		})
	}
	return submitting.Wait()
}

// prepareTakeOver measures from the SIGKILL of the leader until a bot has the lease
// of an action that was sent after it, both by way of another node.
func prepareTakeOver(ctx context.Context, b *bench) (floor, product measurement, err error) {
	c, err := b.grid(ctx)
	if err != nil {
		return nil, nil, err
	}
	return nil, func(ctx context.Context) (float64, error) {
		var all []float64
		for range max(1, int(b.duration.Seconds())) {
			d, err := takeOver(ctx, c)
			if err != nil {
				return 0, err
			}
			all = append(all, d.Seconds())
		}
		return median(all), nil
	}, nil
}

func takeOver(ctx context.Context, c *harness.Cluster) (time.Duration, error) {
	status, err := c.Status(ctx)
	if err != nil {
		return 0, err
	}
	var leader *harness.Member
	var others []string
	for i, m := range c.Members {
		if m.ID == status.Leader {
			leader = m
		} else {
			others = append(others, c.Servers()[i])
		}
	}
	if leader == nil {
		return 0, errors.New("the leader is no member")
	}
	leased := make(chan time.Time, 16)
	stop, err := newBots(ctx, others, len(others), leased)
	if err != nil {
		return 0, err
	}
	defer stop()
	conns, err := connectTo(others)
	if err != nil {
		return 0, err
	}
	defer conns.close()
	var actions []*repb.Digest
	err = patiently(ctx, func() error {
		actions, err = uploadActions(ctx, conns[0], benchRunner, 2)
		return err
	})
	if err != nil {
		return 0, err
	}
	if err := patiently(ctx, func() error { return executeEmpty(ctx, conns[0], actions[0]) }); err != nil { // all connections are warm
		return 0, err
	}
	<-leased
	began := time.Now()
	leader.Kill()
	if err := executeEmpty(ctx, conns[0], actions[1]); err != nil {
		return 0, err
	}
	took := (<-leased).Sub(began)
	if err := leader.Again(ctx); err != nil {
		return 0, err
	}
	_, err = c.AwaitLevel(ctx)
	return took, err
}

// patiently repeats what nodes of a grid may refuse while one of them comes or goes.
func patiently(ctx context.Context, do func() error) error {
	for began := time.Now(); ; time.Sleep(botPause) {
		err := do()
		if status.Code(err) != codes.Unavailable || time.Since(began) > time.Minute || ctx.Err() != nil {
			return err
		}
	}
}
