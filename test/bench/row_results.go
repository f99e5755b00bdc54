package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// getResultRow asks for cached results with one output file and a stdout.
func getResultRow() row {
	return row{name: "GetActionResult, hit, completeness checked", unit: "calls/s", target: 0.7, prepare: prepareGetResult}
}

func prepareGetResult(ctx context.Context, b *bench) (floor, product measurement, err error) {
	null, node, err := b.connectBoth(ctx)
	if err != nil {
		return nil, nil, err
	}
	cached, err := fillCache(ctx, node[0], 1000)
	if err != nil {
		return nil, nil, err
	}
	floor, product = b.both(null, node, connections, func(ctx context.Context, conn *grpc.ClientConn, _ int) (float64, error) {
		r, err := repb.NewActionCacheClient(conn).GetActionResult(ctx, &repb.GetActionResultRequest{
			InstanceName: instance, ActionDigest: cached[rand.IntN(len(cached))],
		})
		if err == nil && len(r.GetOutputFiles()) != 1 {
			err = fmt.Errorf("a result with %d output files, want 1", len(r.GetOutputFiles()))
		}
		return 1, err
	})
	return floor, product, nil
}

// updateResultRow writes new results; the answer comes after they are synced.
func updateResultRow() row {
	return row{name: "UpdateActionResult, synced, 32 callers", unit: "calls/s", target: 0.3, prepare: prepareUpdateResult}
}

func prepareUpdateResult(ctx context.Context, b *bench) (floor, product measurement, err error) {
	null, node, err := b.connectBoth(ctx)
	if err != nil {
		return nil, nil, err
	}
	up := uploader{conn: node[0]}
	result, err := uploadResult(ctx, &up, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := up.flush(ctx); err != nil {
		return nil, nil, err
	}
	const callers = 32
	makers := make([]*maker, callers)
	buffers := make([][]byte, callers)
	for i := range makers {
		makers[i] = newMaker(140)
		buffers[i] = append(append([]byte{}, makers[i].prefix...), make([]byte, 8)...)
	}
	floor, product = b.both(null, node, callers, func(ctx context.Context, conn *grpc.ClientConn, caller int) (float64, error) {
		_, err := repb.NewActionCacheClient(conn).UpdateActionResult(ctx, &repb.UpdateActionResultRequest{
			InstanceName: instance, ActionDigest: makers[caller].fill(buffers[caller]), ActionResult: result,
		})
		return 1, err
	})
	return floor, product, nil
}

// fillCache uploads n actions with their commands and results, and returns the
// actions' digests.
func fillCache(ctx context.Context, conn *grpc.ClientConn, n int) ([]*repb.Digest, error) {
	up := uploader{conn: conn}
	root, err := up.message(ctx, &repb.Directory{})
	if err != nil {
		return nil, err
	}
	command, err := up.message(ctx, copyCommand())
	if err != nil {
		return nil, err
	}
	actions, results := make([]*repb.Digest, n), make([]*repb.ActionResult, n)
	run := rand.Uint64()
	for i := range n {
		action := &repb.Action{CommandDigest: command, InputRootDigest: root, Salt: fmt.Appendf(nil, "%d-%d", run, i)}
		if actions[i], err = up.message(ctx, action); err != nil {
			return nil, err
		}
		if results[i], err = uploadResult(ctx, &up, i); err != nil {
			return nil, err
		}
	}
	if err := up.flush(ctx); err != nil {
		return nil, err
	}
	for i := range n {
		_, err := repb.NewActionCacheClient(conn).UpdateActionResult(ctx, &repb.UpdateActionResultRequest{
			InstanceName: instance, ActionDigest: actions[i], ActionResult: results[i],
		})
		if err != nil {
			return nil, fmt.Errorf("fill the action cache: %w", err)
		}
	}
	return actions, nil
}

func uploadResult(ctx context.Context, up *uploader, i int) (*repb.ActionResult, error) {
	out, err := up.blob(ctx, fmt.Appendf(nil, "output %d", i))
	if err != nil {
		return nil, err
	}
	log, err := up.blob(ctx, fmt.Appendf(nil, "log %d", i))
	if err != nil {
		return nil, err
	}
	return sampleResult(out, log), nil
}

// sampleResult is the result of a small compilation.
func sampleResult(out, log *repb.Digest) *repb.ActionResult {
	at := timestamppb.New(timestampEpoch)
	return &repb.ActionResult{
		OutputFiles:  []*repb.OutputFile{{Path: "bazel-out/k8-fastbuild/bin/src/main.o", Digest: out}},
		StdoutDigest: log,
		ExecutionMetadata: &repb.ExecutedActionMetadata{
			Worker: "worker", QueuedTimestamp: at, WorkerStartTimestamp: at, WorkerCompletedTimestamp: at,
			ExecutionStartTimestamp: at, ExecutionCompletedTimestamp: at,
		},
	}
}
