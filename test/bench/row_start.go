package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
)

// startupRows measure from the start of the process to its first answer.
func startupRows() []row {
	return []row{
		{name: "start to first answer, empty store", unit: "s", target: 0.2, limit: true, prepare: prepareStartEmpty},
		{name: "start to first answer, full store", unit: "s", target: 0.5, limit: true, prepare: prepareStartFull},
	}
}

func prepareStartEmpty(_ context.Context, b *bench) (floor, product measurement, err error) {
	n := 0
	return nil, func(ctx context.Context) (float64, error) {
		n++
		p, err := startNode(ctx, b.binary, filepath.Join(b.work, fmt.Sprintf("empty-%d", n)), b.args)
		if err != nil {
			return 0, err
		}
		p.kill()
		return p.ready.Seconds(), nil
	}, nil
}

// prepareStartFull fills a store once; each round ends a node on it by SIGKILL,
// which is the harder case, and starts the next.
func prepareStartFull(ctx context.Context, b *bench) (floor, product measurement, err error) {
	dir := filepath.Join(b.work, "full")
	p, err := startNode(ctx, b.binary, dir, b.args)
	if err != nil {
		return nil, nil, err
	}
	err = fillStore(ctx, p, b.blobs, 256)
	p.kill()
	if err != nil {
		return nil, nil, err
	}
	return nil, func(ctx context.Context) (float64, error) {
		p, err := startNode(ctx, b.binary, dir, b.args)
		if err != nil {
			return 0, err
		}
		defer p.kill()
		return p.ready.Seconds(), nil
	}, nil
}

// fillStore uploads n blobs of a size.
func fillStore(ctx context.Context, p *process, n, size int) error {
	c, err := connect(p)
	if err != nil {
		return err
	}
	defer c.close()
	perCall := min(2000, (3<<20)/size)
	m := newMaker(size)
	req := m.batch(perCall)
	for done := 0; done < n; done += len(req.Requests) {
		m.next(req)
		if left := n - done; left < len(req.Requests) {
			req = &repb.BatchUpdateBlobsRequest{InstanceName: instance, Requests: req.Requests[:left]}
		}
		if err := store(ctx, c[0], req); err != nil {
			return err
		}
	}
	return nil
}

// memoryRows read the anonymous memory of a node of its own.
func memoryRows() []row {
	return []row{
		{name: "anonymous memory, idle", unit: "MB", target: 64, limit: true, prepare: prepareMemory(0)},
		{name: "anonymous memory, after 100,000 blobs of 1 KiB", unit: "MB", target: 120, limit: true, prepare: prepareMemory(100_000)},
	}
}

func prepareMemory(blobs int) func(context.Context, *bench) (floor, product measurement, err error) {
	return func(_ context.Context, b *bench) (floor, product measurement, err error) {
		n := 0
		return nil, func(ctx context.Context) (float64, error) {
			n++
			p, err := startNode(ctx, b.binary, filepath.Join(b.work, fmt.Sprintf("memory-%d-%d", blobs, n)), b.args)
			if err != nil {
				return 0, err
			}
			defer p.kill()
			if err := fillStore(ctx, p, blobs, 1<<10); err != nil {
				return 0, err
			}
			select {
			case <-time.After(3 * time.Second):
			case <-ctx.Done():
			}
			return p.anonymous()
		}, nil
	}
}
