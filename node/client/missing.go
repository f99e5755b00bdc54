package client

import (
	"context"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"golang.org/x/sync/errgroup"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// missingChunk is how many digests one FindMissingBlobs call asks for: about
// 200 KiB of message.
const missingChunk = 2000

// FindMissing returns those of ds that the server lacks, each once, in the order
// asked. The server keeps the others for its protection window.
func (c *Client) FindMissing(ctx context.Context, ds []digest.Digest) ([]digest.Digest, error) {
	unique := make([]digest.Digest, 0, len(ds))
	seen := make(map[digest.Digest]bool, len(ds))
	for _, d := range ds {
		if !seen[d] && !d.IsEmpty() {
			seen[d] = true
			unique = append(unique, d)
		}
	}
	answers := make([][]digest.Digest, (len(unique)+missingChunk-1)/missingChunk)
	group, ctx := errgroup.WithContext(ctx)
	for i := range answers {
		part := unique[i*missingChunk : min((i+1)*missingChunk, len(unique))]
		group.Go(func() (err error) {
			answers[i], err = c.findMissing(ctx, part)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	missing := make([]digest.Digest, 0, len(unique))
	for _, part := range answers {
		missing = append(missing, part...)
	}
	return missing, nil
}

func (c *Client) findMissing(ctx context.Context, part []digest.Digest) ([]digest.Digest, error) {
	free, err := c.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer free()
	req := &repb.FindMissingBlobsRequest{InstanceName: c.instance, DigestFunction: c.fn.Proto()}
	for _, d := range part {
		req.BlobDigests = append(req.BlobDigests, d.Proto())
	}
	var reply *repb.FindMissingBlobsResponse
	err = c.retry(ctx, func(ctx context.Context) (err error) {
		reply, err = c.cas.FindMissingBlobs(ctx, req)
		return err
	})
	if err != nil {
		return nil, c.explain("find missing blobs", err)
	}
	lacks := make(map[digest.Digest]bool, len(reply.MissingBlobDigests))
	for _, p := range reply.MissingBlobDigests {
		if d, err := digest.FromProto(c.fn, p); err == nil {
			lacks[d] = true
		}
	}
	missing := make([]digest.Digest, 0, len(lacks))
	for _, d := range part {
		if lacks[d] {
			missing = append(missing, d)
		}
	}
	return missing, nil
}
