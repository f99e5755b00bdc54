package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc"
)

// perBatch is the number of blobs in each batch.
const perBatch = 64

// batchUpdateRows upload new blobs of two sizes.
func batchUpdateRows() []row {
	return []row{
		{name: "BatchUpdateBlobs, 64 x 1 KiB", unit: "blobs/s", target: 0.5, prepare: prepareBatchUpdate(1 << 10)},
		{name: "BatchUpdateBlobs, 64 x 16 KiB", unit: "blobs/s", target: 0.6, prepare: prepareBatchUpdate(16 << 10)},
	}
}

func prepareBatchUpdate(size int) func(context.Context, *bench) (floor, product measurement, err error) {
	return func(ctx context.Context, b *bench) (floor, product measurement, err error) {
		null, node, err := b.connectBoth(ctx)
		if err != nil {
			return nil, nil, err
		}
		makers := make([]*maker, connections)
		batches := make([]*repb.BatchUpdateBlobsRequest, connections)
		for i := range makers {
			makers[i] = newMaker(size)
			batches[i] = makers[i].batch(perBatch)
		}
		floor, product = b.both(null, node, connections, func(ctx context.Context, conn *grpc.ClientConn, caller int) (float64, error) {
			makers[caller].next(batches[caller])
			return perBatch, store(ctx, conn, batches[caller])
		})
		return floor, product, nil
	}
}

// batchReadRow reads batches of a pool of 64 MiB.
func batchReadRow() row {
	return row{name: "BatchReadBlobs, 64 x 16 KiB", unit: "blobs/s", target: 0.8, prepare: prepareBatchRead}
}

func prepareBatchRead(ctx context.Context, b *bench) (floor, product measurement, err error) {
	null, node, err := b.connectBoth(ctx)
	if err != nil {
		return nil, nil, err
	}
	const size, pool = 16 << 10, 4096
	m := newMaker(size)
	var present []*repb.Digest
	for req := m.batch(perBatch); len(present) < pool; m.next(req) {
		if err := store(ctx, node[0], req); err != nil {
			return nil, nil, err
		}
		for _, r := range req.Requests {
			present = append(present, r.Digest)
		}
	}
	requests := make([]*repb.BatchReadBlobsRequest, 256)
	for i := range requests {
		requests[i] = &repb.BatchReadBlobsRequest{InstanceName: instance}
		for _, k := range rand.Perm(len(present))[:perBatch] {
			requests[i].Digests = append(requests[i].Digests, present[k])
		}
	}
	floor, product = b.both(null, node, connections, func(ctx context.Context, conn *grpc.ClientConn, _ int) (float64, error) {
		reply, err := repb.NewContentAddressableStorageClient(conn).BatchReadBlobs(ctx, requests[rand.IntN(len(requests))])
		if err != nil {
			return 0, err
		}
		for _, r := range reply.GetResponses() {
			if r.GetStatus().GetCode() != 0 || len(r.GetData()) != size {
				return 0, fmt.Errorf("read a blob: %d bytes, %s", len(r.GetData()), r.GetStatus().GetMessage())
			}
		}
		return float64(len(reply.GetResponses())), nil
	})
	return floor, product, nil
}
