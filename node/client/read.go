package client

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Fetch writes the blob d to w, piece by piece, and verifies it: an ErrCorrupt or
// any other error means that what was written is not to be used. A stream that
// breaks goes on where it broke. A blob that the server lacks is ErrNotFound.
func (c *Client) Fetch(ctx context.Context, d digest.Digest, w io.Writer) error {
	return c.fetch(ctx, d, w, nil)
}

func (c *Client) fetch(ctx context.Context, d digest.Digest, w io.Writer, p *Progress) error {
	if d.IsEmpty() {
		return nil
	}
	free, err := c.acquire(ctx)
	if err != nil {
		return err
	}
	defer free()
	r := &download{c: c, digest: d, to: w, hash: d.Function.New(), progress: p}
	b := c.backoff()
	for {
		before := r.at
		err := r.attempt(ctx)
		if err == nil {
			return r.verify()
		}
		var local *localError
		if errors.As(err, &local) {
			return local.err
		}
		if r.at > before {
			b.progress()
		}
		if err := b.wait(ctx, err); err != nil {
			return c.explain("download "+d.String(), err)
		}
	}
}

// download is one blob on its way down.
type download struct {
	c        *Client
	digest   digest.Digest
	to       io.Writer
	hash     hash.Hash
	at       int64 // bytes written so far
	progress *Progress
}

// localError marks what another attempt does not mend.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }

// attempt reads from r.at to the end.
func (r *download) attempt(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := r.c.bytes.Read(ctx, &bytestream.ReadRequest{
		ResourceName: digest.ReadName(r.c.instance, r.digest),
		ReadOffset:   r.at,
	})
	if err != nil {
		return err
	}
	for from := r.at; r.at < r.digest.Size; {
		reply, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if r.at == from { // an orderly end without anything: it will not be better next time
				return &localError{fmt.Errorf("download %s: %w: it ends at %d bytes", r.digest, ErrCorrupt, r.at)}
			}
			return status.Errorf(codes.Unavailable, "the stream ended at %d of %d bytes", r.at, r.digest.Size)
		}
		r.c.heard(err)
		if err != nil {
			return err
		}
		if err := r.take(reply.Data); err != nil {
			return &localError{err}
		}
	}
	return nil
}

func (r *download) take(data []byte) error {
	if int64(len(data)) > r.digest.Size-r.at {
		return fmt.Errorf("download %s: %w: it is longer", r.digest, ErrCorrupt)
	}
	if _, err := r.to.Write(data); err != nil {
		return err
	}
	r.hash.Write(data)
	r.at += int64(len(data))
	r.progress.moved(int64(len(data)))
	return nil
}

func (r *download) verify() error {
	if digest.FromHash(r.digest.Function, r.hash, r.at) != r.digest {
		return fmt.Errorf("download %s: %w", r.digest, ErrCorrupt)
	}
	return nil
}

// fetchBatch reads blobs that together fit into one batch (see pack) and hands
// each to take, verified. Those that the server lacks are ErrNotFound.
func (c *Client) fetchBatch(ctx context.Context, ds []digest.Digest, take func(digest.Digest, []byte) error) error {
	free, err := c.acquire(ctx)
	if err != nil {
		return err
	}
	req := &repb.BatchReadBlobsRequest{InstanceName: c.instance, DigestFunction: c.fn.Proto()}
	for _, d := range ds {
		req.Digests = append(req.Digests, d.Proto())
	}
	var reply *repb.BatchReadBlobsResponse
	err = c.retry(ctx, func(ctx context.Context) (err error) {
		reply, err = c.cas.BatchReadBlobs(ctx, req)
		return err
	})
	free()
	switch {
	case needsStream(err):
		return c.fetchEach(ctx, ds, take)
	case err != nil:
		return c.explain("download blobs", err)
	}
	want := make(map[digest.Digest]bool, len(ds))
	for _, d := range ds {
		want[d] = true
	}
	var again []digest.Digest
	for _, r := range reply.Responses {
		d, err := digest.FromProto(c.fn, r.Digest)
		if err != nil || !want[d] {
			continue
		}
		delete(want, d)
		switch err := status.FromProto(r.Status).Err(); {
		case err == nil:
			if err := c.takeVerified(d, r.Data, take); err != nil {
				return err
			}
		case isAway(err) || status.Code(err) == codes.ResourceExhausted:
			again = append(again, d) // the stream has its own retries
		default:
			return c.explain("download "+d.String(), err)
		}
	}
	for d := range want {
		again = append(again, d) // the answer says nothing of it
	}
	return c.fetchEach(ctx, again, take)
}

func (c *Client) takeVerified(d digest.Digest, data []byte, take func(digest.Digest, []byte) error) error {
	if digest.Of(d.Function, data) != d {
		return fmt.Errorf("download %s: %w", d, ErrCorrupt)
	}
	return take(d, data)
}

// fetchEach reads small blobs one by one.
func (c *Client) fetchEach(ctx context.Context, ds []digest.Digest, take func(digest.Digest, []byte) error) error {
	for _, d := range ds {
		var whole sliceWriter
		if err := c.fetch(ctx, d, &whole, nil); err != nil {
			return err
		}
		if err := take(d, whole); err != nil {
			return err
		}
	}
	return nil
}

type sliceWriter []byte

func (w *sliceWriter) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}

// FetchBytes returns the blob d, verified. A blob above most bytes is refused
// before anything is read.
func (c *Client) FetchBytes(ctx context.Context, d digest.Digest, most int64) ([]byte, error) {
	if d.Size > most {
		return nil, fmt.Errorf("download %s: %d bytes are more than the %d that are taken into memory", d, d.Size, most)
	}
	whole := make(sliceWriter, 0, d.Size)
	if err := c.Fetch(ctx, d, &whole); err != nil {
		return nil, err
	}
	return whole, nil
}
