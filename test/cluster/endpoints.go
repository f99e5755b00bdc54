package cluster

import (
	"context"
	"fmt"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/stats"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/test/harness"
)

// endpoint is one node as a client sees it.
type endpoint struct {
	address string
	conn    *grpc.ClientConn
	cache   repb.ActionCacheClient
	exec    repb.ExecutionClient
	ops     longrunningpb.OperationsClient
	blobs   *client.Client
}

// dialOptions notice soon when a node has gone without a word: in the middle of
// a request after silentWrites, and while waiting for an answer after the keepalive
// interval of grpc-go, which is at least 10 seconds, besides.
func dialOptions() []grpc.DialOption {
	const silentWrites = 3 * time.Second
	return []grpc.DialOption{
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: silentWrites}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 500 * time.Millisecond},
			MinConnectTimeout: 2 * time.Second,
		}),
	}
}

func dialEndpoint(address string) (*endpoint, error) {
	conn, err := grpc.NewClient("passthrough:///"+address, append(dialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStatsHandler(sentHandler{}))...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	// No patience: a call that failed is repeated here, with another node.
	blobs, err := client.Dial("passthrough:///"+address, harness.Instance, client.Options{Tool: "cluster-test", Patience: -1, DialOptions: dialOptions()})
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &endpoint{
		address: address, conn: conn, blobs: blobs, cache: repb.NewActionCacheClient(conn),
		exec: repb.NewExecutionClient(conn), ops: longrunningpb.NewOperationsClient(conn),
	}, nil
}

func (e *endpoint) close() {
	_ = e.conn.Close()
	_ = e.blobs.Close()
}

// sentKey is where a context has a *bool that becomes true once a request has left
// this process: only then can it have had an effect.
type sentKey struct{}

func watchSent(ctx context.Context) (context.Context, *bool) {
	sent := new(bool)
	return context.WithValue(ctx, sentKey{}, sent), sent
}

// sentHandler sets it. The call's goroutine is the one that sends.
type sentHandler struct{}

func (sentHandler) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (sentHandler) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if _, ok := s.(*stats.OutPayload); ok {
		if sent, ok := ctx.Value(sentKey{}).(*bool); ok {
			*sent = true
		}
	}
}

func (sentHandler) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (sentHandler) HandleConn(context.Context, stats.ConnStats) {}
