package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc"
)

// timestampEpoch dates what is made up.
var timestampEpoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// copyCommand is the smallest real action: a file in, a file out.
func copyCommand() *repb.Command {
	return &repb.Command{
		Arguments:            []string{"cp", "in", "out"},
		EnvironmentVariables: []*repb.Command_EnvironmentVariable{{Name: "PATH", Value: "/usr/bin:/bin"}},
		OutputPaths:          []string{"out"},
	}
}

// executeCachedRow executes actions whose results are cached.
func executeCachedRow() row {
	return row{name: "Execute, answered from the cache", unit: "calls/s", target: 0.5, prepare: prepareExecuteCached}
}

func prepareExecuteCached(ctx context.Context, b *bench) (floor, product measurement, err error) {
	null, node, err := b.connectBoth(ctx)
	if err != nil {
		return nil, nil, err
	}
	cached, err := fillCache(ctx, node[0], 1000)
	if err != nil {
		return nil, nil, err
	}
	floor, product = b.both(null, node, connections, func(ctx context.Context, conn *grpc.ClientConn, _ int) (float64, error) {
		response, err := execute(ctx, conn, cached[rand.IntN(len(cached))])
		if err == nil && !response.GetCachedResult() {
			err = errors.New("the action was executed, not answered from the cache")
		}
		return 1, err
	})
	return floor, product, nil
}

// realActionsRow executes actions that were never seen before.
func realActionsRow() row {
	return row{name: "unique actions (cp in out), 8 waiting, durable", unit: "actions/s", target: 0.45, prepare: prepareRealActions}
}

func prepareRealActions(ctx context.Context, b *bench) (floor, product measurement, err error) {
	_, node, err := b.connectBoth(ctx)
	if err != nil {
		return nil, nil, err
	}
	product = func(ctx context.Context) (float64, error) {
		// Uploading is not what is measured: it is done before the clock runs.
		most := int(b.duration.Seconds()*3000) + 1000
		actions, err := uploadActions(ctx, node[0], "hosttools", most)
		if err != nil {
			return 0, err
		}
		var next atomic.Int64
		return node.drive(ctx, b.duration, connections, func(ctx context.Context, conn *grpc.ClientConn, _ int) (float64, error) {
			i := int(next.Add(1)) - 1
			if i >= len(actions) {
				return 0, errNoMore
			}
			return 1, executeFresh(ctx, conn, actions[i])
		})
	}
	return b.bareActions, product, nil
}

func executeFresh(ctx context.Context, conn *grpc.ClientConn, action *repb.Digest) error {
	response, err := execute(ctx, conn, action)
	switch {
	case err != nil:
		return err
	case response.GetCachedResult() || len(response.GetResult().GetOutputFiles()) != 1:
		return fmt.Errorf("not executed as it should be: cached %t, %d outputs, exit code %d", response.GetCachedResult(),
			len(response.GetResult().GetOutputFiles()), response.GetResult().GetExitCode())
	}
	return nil
}

// uploadActions stores n actions for a runner, with more properties when some are
// given, and an input file of its own each.
func uploadActions(ctx context.Context, conn *grpc.ClientConn, runner string, n int, more ...*repb.Platform_Property) ([]*repb.Digest, error) {
	up := uploader{conn: conn}
	command, err := up.message(ctx, copyCommand())
	if err != nil {
		return nil, err
	}
	actions := make([]*repb.Digest, n)
	platform := &repb.Platform{Properties: append([]*repb.Platform_Property{{Name: "runner", Value: runner}}, more...)}
	run := rand.Uint64()
	for i := range actions {
		file, err := up.blob(ctx, fmt.Appendf(nil, "input %d of run %d\n", i, run))
		if err != nil {
			return nil, err
		}
		root, err := up.message(ctx, &repb.Directory{Files: []*repb.FileNode{{Name: "in", Digest: file}}})
		if err != nil {
			return nil, err
		}
		if actions[i], err = up.message(ctx, &repb.Action{CommandDigest: command, InputRootDigest: root, Platform: platform}); err != nil {
			return nil, err
		}
	}
	return actions, up.flush(ctx)
}

// execute runs one action and reads its stream to the end.
func execute(ctx context.Context, conn *grpc.ClientConn, action *repb.Digest) (*repb.ExecuteResponse, error) {
	stream, err := repb.NewExecutionClient(conn).Execute(ctx, &repb.ExecuteRequest{InstanceName: instance, ActionDigest: action})
	if err != nil {
		return nil, err
	}
	var last *longrunningpb.Operation
	for {
		op, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		last = op
	}
	if !last.GetDone() {
		return nil, errors.New("the stream ended before the operation")
	}
	response := new(repb.ExecuteResponse)
	if err := last.GetResponse().UnmarshalTo(response); err != nil {
		return nil, err
	}
	if s := response.GetStatus(); s.GetCode() != 0 {
		return nil, fmt.Errorf("executed with status %d: %s", s.GetCode(), s.GetMessage())
	}
	return response, nil
}
