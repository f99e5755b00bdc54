package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc"
)

// findMissingRow asks for 100 digests, every second one of which is present.
func findMissingRow() row {
	return row{name: "FindMissingBlobs, 100 digests, half present", unit: "calls/s", target: 0.75, prepare: prepareFindMissing}
}

func prepareFindMissing(ctx context.Context, b *bench) (floor, product measurement, err error) {
	null, node, err := b.connectBoth(ctx)
	if err != nil {
		return nil, nil, err
	}
	const pool, each = 10_000, 100
	m := newMaker(1024)
	present := make([]*repb.Digest, 0, pool)
	for req := m.batch(500); len(present) < pool; m.next(req) {
		if err := store(ctx, node[0], req); err != nil {
			return nil, nil, err
		}
		for _, r := range req.Requests {
			present = append(present, r.Digest)
		}
	}
	absent := make([]byte, 1024)
	copy(absent, m.prefix)
	requests := make([]*repb.FindMissingBlobsRequest, 256)
	for i := range requests {
		req := &repb.FindMissingBlobsRequest{InstanceName: instance}
		for j := range each {
			d := m.fill(absent)
			if j%2 == 0 {
				d = present[rand.IntN(len(present))]
			}
			req.BlobDigests = append(req.BlobDigests, d)
		}
		requests[i] = req
	}
	floor, product = b.both(null, node, connections, func(ctx context.Context, conn *grpc.ClientConn, _ int) (float64, error) {
		reply, err := repb.NewContentAddressableStorageClient(conn).FindMissingBlobs(ctx, requests[rand.IntN(len(requests))])
		if err != nil {
			return 0, err
		}
		if n := len(reply.GetMissingBlobDigests()); n != each/2 {
			return 0, fmt.Errorf("%d digests missing, want %d", n, each/2)
		}
		return 1, nil
	})
	return floor, product, nil
}
