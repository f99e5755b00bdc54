package client

import (
	"context"
	"fmt"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// UploadStats says what an upload did.
type UploadStats struct {
	Blobs, Bytes         int64 // distinct blobs named, and their content in bytes
	SentBlobs, SentBytes int64 // of these, what the server lacked
}

// Upload brings every source to the server that it lacks: small ones in batches,
// others by ByteStream, several calls at a time. Equal digests are sent once.
func (c *Client) Upload(ctx context.Context, sources []Source, p *Progress) (UploadStats, error) {
	var stats UploadStats
	byDigest := make(map[digest.Digest]Source, len(sources))
	all := make([]digest.Digest, 0, len(sources))
	for _, s := range sources {
		if _, known := byDigest[s.Digest]; known {
			continue
		}
		byDigest[s.Digest] = s
		all = append(all, s.Digest)
		stats.Blobs++
		stats.Bytes += s.Digest.Size
	}
	limit, err := c.batchLimit(ctx)
	if err != nil {
		return stats, err
	}
	missing, err := c.FindMissing(ctx, all)
	if err != nil {
		return stats, err
	}
	for _, d := range missing {
		stats.SentBlobs++
		stats.SentBytes += d.Size
	}
	p.plan(stats.SentBlobs, stats.SentBytes)
	batches, large := pack(missing, limit, c.batchOverhead())
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(cap(c.transfers))
	for _, d := range large {
		group.Go(func() error { return c.uploadLarge(ctx, byDigest[d], p) })
	}
	for _, batch := range batches {
		group.Go(func() error { return c.uploadBatch(ctx, batch, byDigest, p) })
	}
	return stats, group.Wait()
}

// UploadBlob uploads data and returns its digest.
func (c *Client) UploadBlob(ctx context.Context, data []byte) (digest.Digest, error) {
	s := Blob(c.fn, data)
	_, err := c.Upload(ctx, []Source{s}, nil)
	return s.Digest, err
}

// perBlob is what one blob adds to a batch message beside its content: the hash,
// two lengths and the field tags, rounded up.
const perBlob = 128

// batchOverhead is what a batch message has beside its blobs.
func (c *Client) batchOverhead() int64 { return int64(len(c.instance)) + 32 }

// pack sorts blobs into batches of at most limit bytes of message and those too
// large for one.
func pack(ds []digest.Digest, limit, overhead int64) (batches [][]digest.Digest, large []digest.Digest) {
	var batch []digest.Digest
	room := limit - overhead
	for _, d := range ds {
		size := d.Size + perBlob
		if size > limit-overhead {
			large = append(large, d)
			continue
		}
		if size > room {
			batches = append(batches, batch)
			batch, room = nil, limit-overhead
		}
		batch = append(batch, d)
		room -= size
	}
	if len(batch) > 0 {
		batches = append(batches, batch)
	}
	return batches, large
}

func (c *Client) uploadLarge(ctx context.Context, s Source, p *Progress) error {
	free, err := c.acquire(ctx)
	if err != nil {
		return err
	}
	defer free()
	if err := c.write(ctx, s, p); err != nil {
		return err
	}
	p.finished(1)
	return nil
}

// uploadBatch sends one batch, and again those of it that the server was short
// of time or room for.
func (c *Client) uploadBatch(ctx context.Context, ds []digest.Digest, sources map[digest.Digest]Source, p *Progress) error {
	free, err := c.acquire(ctx)
	if err != nil {
		return err
	}
	defer free()
	b := c.backoff()
	for {
		again, err := c.batchUpdate(ctx, ds, sources, p)
		if needsStream(err) {
			return c.writeEach(ctx, ds, sources, p)
		}
		if err == nil {
			return nil
		}
		if len(again) < len(ds) {
			b.progress()
		}
		ds = again
		if err := b.wait(ctx, err); err != nil {
			return c.explain("upload blobs", err)
		}
	}
}

// needsStream tells whether a batch call failed where ByteStream may do: the
// server has no batch calls, or lower limits for them than it told.
func needsStream(err error) bool {
	switch status.Code(err) {
	case codes.Unimplemented:
		return true
	case codes.ResourceExhausted:
		_, wait := retryDelay(err)
		return !wait
	}
	return false
}

// batchUpdate makes one BatchUpdateBlobs call. With an error it returns what to
// send again if the error is one that passes.
func (c *Client) batchUpdate(ctx context.Context, ds []digest.Digest, sources map[digest.Digest]Source, p *Progress) ([]digest.Digest, error) {
	req := &repb.BatchUpdateBlobsRequest{InstanceName: c.instance, DigestFunction: c.fn.Proto()}
	for _, d := range ds {
		data, err := sources[d].read()
		if err != nil {
			return nil, err
		}
		req.Requests = append(req.Requests, &repb.BatchUpdateBlobsRequest_Request{Digest: d.Proto(), Data: data})
	}
	reply, err := c.cas.BatchUpdateBlobs(ctx, req)
	if err != nil {
		return ds, err
	}
	left := make(map[digest.Digest]bool, len(ds))
	for _, d := range ds {
		left[d] = true
	}
	var again []digest.Digest
	var passing error
	for _, r := range reply.Responses {
		d, err := digest.FromProto(c.fn, r.Digest)
		if err != nil || !left[d] {
			continue
		}
		delete(left, d)
		if r.Status.GetCode() == int32(codes.OK) {
			p.moved(d.Size)
			p.finished(1)
			continue
		}
		err = status.FromProto(r.Status).Err()
		if _, asked := retryDelay(err); !asked && !isAway(err) {
			return nil, c.explain("upload "+sources[d].name(), err)
		}
		again, passing = append(again, d), err
	}
	if len(left) > 0 {
		return nil, fmt.Errorf("upload blobs: the server says nothing of %d of %d blobs in its answer", len(left), len(ds))
	}
	return again, passing
}

// writeEach serves servers without batch calls.
func (c *Client) writeEach(ctx context.Context, ds []digest.Digest, sources map[digest.Digest]Source, p *Progress) error {
	for _, d := range ds {
		if err := c.write(ctx, sources[d], p); err != nil {
			return err
		}
		p.finished(1)
	}
	return nil
}
