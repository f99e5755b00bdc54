package client

import (
	"context"
	"fmt"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// requestMetadataKey carries the RequestMetadata of each call (REAPI, RequestMetadata).
const requestMetadataKey = "build.bazel.remote.execution.v2.requestmetadata-bin"

// requestMetadata encodes what each call says about its caller.
func (c *Client) requestMetadata() (string, error) {
	invocation := c.opts.Invocation
	if invocation == "" {
		invocation = uuid.NewString()
	}
	b, err := proto.Marshal(&repb.RequestMetadata{
		ToolDetails:      &repb.ToolDetails{ToolName: c.opts.Tool, ToolVersion: c.opts.ToolVersion},
		ToolInvocationId: invocation,
	})
	if err != nil {
		return "", fmt.Errorf("encode request metadata: %w", err)
	}
	return string(b), nil
}

// unary adds the header to calls, unless the caller has set one, and notes that
// the server has answered.
func (c *Client) unary(header string) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		err := invoker(withHeader(ctx, header), method, req, reply, cc, opts...)
		c.heard(err)
		return err
	}
}

// heard notes how a call ended: a server has answered unless the call was given
// up or no connection came about.
func (c *Client) heard(err error) {
	s := status.Convert(err)
	switch s.Code() {
	case codes.Canceled, codes.DeadlineExceeded:
		return
	case codes.Unavailable:
		if isTransport(s.Message()) {
			return
		}
	}
	c.answered.Store(true)
}

func (c *Client) stream(header string) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		return streamer(withHeader(ctx, header), desc, cc, method, opts...)
	}
}

func withHeader(ctx context.Context, header string) context.Context {
	if out, ok := metadata.FromOutgoingContext(ctx); ok && len(out.Get(requestMetadataKey)) > 0 {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, requestMetadataKey, header)
}
