package client

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// FetchMany returns the content of blobs that each fit into memory, verified, in
// the order asked: small ones in batches, others by ByteStream, several calls at
// a time. missing lists those that the server lacks; then there is no content.
func (c *Client) FetchMany(ctx context.Context, ds []digest.Digest) (data [][]byte, missing []digest.Digest, err error) {
	limit, err := c.batchLimit(ctx)
	if err != nil {
		return nil, nil, err
	}
	var mu sync.Mutex
	got := make(map[digest.Digest][]byte, len(ds))
	take := func(d digest.Digest, content []byte) error {
		mu.Lock()
		defer mu.Unlock()
		got[d] = content
		return nil
	}
	var unique []digest.Digest
	for _, d := range ds {
		if _, known := got[d]; !known {
			got[d] = nil
			if !d.IsEmpty() {
				unique = append(unique, d)
			}
		}
	}
	batches, large := pack(unique, limit, c.batchOverhead())
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(cap(c.transfers))
	for _, batch := range batches {
		group.Go(func() error { return c.fetchBatch(groupCtx, batch, take) })
	}
	group.Go(func() error { return c.fetchEach(groupCtx, large, take) })
	switch err := group.Wait(); {
	case errors.Is(err, ErrNotFound):
		missing, findErr := c.FindMissing(ctx, unique)
		if findErr == nil && len(missing) > 0 {
			return nil, missing, nil
		}
		return nil, nil, err
	case err != nil:
		return nil, nil, err
	}
	data = make([][]byte, len(ds))
	for i, d := range ds {
		data[i] = got[d]
	}
	return data, nil, nil
}
