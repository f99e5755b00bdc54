package client

import (
	"context"
	"fmt"
	"slices"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Capabilities returns what the server says of itself; it is asked once. A server
// that does not serve the method gets an empty answer, which means: the limits
// that every server keeps to. An instance that the server does not know is
// ErrInstance.
func (c *Client) Capabilities(ctx context.Context) (*repb.ServerCapabilities, error) {
	c.mu.Lock()
	served := c.served
	c.mu.Unlock()
	if served != nil {
		return served, nil
	}
	err := c.retry(ctx, func(ctx context.Context) (err error) {
		served, err = c.caps.GetCapabilities(ctx, &repb.GetCapabilitiesRequest{InstanceName: c.instance})
		return err
	})
	switch {
	case status.Code(err) == codes.Unimplemented:
		served = &repb.ServerCapabilities{}
	case status.Code(err) == codes.InvalidArgument, status.Code(err) == codes.NotFound:
		return nil, fmt.Errorf("%w at %s: %q: %s", ErrInstance, c.server, c.instance, Describe(status.Convert(err)))
	case err != nil:
		return nil, c.explain("ask for capabilities", err)
	}
	if known := served.GetCacheCapabilities().GetDigestFunctions(); len(known) > 0 && !slices.Contains(known, c.fn.Proto()) {
		return nil, fmt.Errorf("the server at %s does not take %s digests; it takes %v", c.server, c.fn, known)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.served = served
	return served, nil
}

// Limits of a batch call in bytes. grpc-go and most servers refuse messages above
// 4 MiB, whatever they advertise.
const (
	messageLimit = 4<<20 - 16<<10
	minBatch     = 1 << 10
)

// batchLimit returns how many bytes one batch message may have.
func (c *Client) batchLimit(ctx context.Context) (int64, error) {
	served, err := c.Capabilities(ctx)
	if err != nil {
		return 0, err
	}
	limit := served.GetCacheCapabilities().GetMaxBatchTotalSizeBytes()
	if limit <= 0 || limit > messageLimit {
		return messageLimit, nil
	}
	return max(limit, minBatch), nil
}
