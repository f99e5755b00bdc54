package client

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Options tune a Client. The zero value is ready to use.
type Options struct {
	// Transfers is how many calls carry blobs at a time; 0 means 8.
	Transfers int
	// Patience is for how long a call is repeated while the server is away, once it
	// has answered before. 0 means 2 minutes, negative not at all.
	Patience time.Duration
	// Tool and ToolVersion name the caller in the RequestMetadata of each call.
	Tool, ToolVersion string
	// Invocation groups the calls of one build; empty means a new random one.
	Invocation string
	// DialOptions come after the Client's own: credentials, for instance.
	DialOptions []grpc.DialOption
}

// Validate reports what cannot be meant.
func (o Options) Validate() error {
	if o.Transfers < 0 || o.Transfers > 1024 {
		return fmt.Errorf("client options: Transfers is %d, want 0 to 1024", o.Transfers)
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.Transfers == 0 {
		o.Transfers = 8
	}
	if o.Patience == 0 {
		o.Patience = 2 * time.Minute
	}
	if o.Tool == "" {
		o.Tool = "bgrid-node"
	}
	return o
}

// Windows of the connection in bytes: a stream must not wait for window updates
// in the middle of a chunk.
const (
	streamWindow     = 4 << 20
	connectionWindow = 16 << 20
	// maxReceive is above the 4 MiB that servers keep to, since batches are packed by
	// the size of the content, without the framing.
	maxReceive = 16 << 20
)

// Client is a connection to one instance of one server. It is safe for
// concurrent use.
type Client struct {
	server   string
	instance string
	fn       digest.Function
	opts     Options

	conn  *grpc.ClientConn
	cas   repb.ContentAddressableStorageClient
	bytes bytestream.ByteStreamClient
	caps  repb.CapabilitiesClient
	cache repb.ActionCacheClient
	exec  repb.ExecutionClient
	ops   longrunningpb.OperationsClient

	// transfers bounds the calls that carry blobs.
	transfers chan struct{}
	// answered is set once the server has answered anything at all.
	answered atomic.Bool

	mu     sync.Mutex
	served *repb.ServerCapabilities // guarded by mu; nil: not asked yet
}

// Dial prepares a connection to server, a "host:port" or any name that grpc-go
// resolves, and to one of its instances, which may be empty. Nothing is sent: a
// server that is not there shows with the first call, as ErrUnreachable. The
// connection is cleartext HTTP/2 unless a dial option brings credentials.
func Dial(server, instance string, o Options) (*Client, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	c := &Client{server: server, instance: instance, fn: digest.SHA256, opts: o, transfers: make(chan struct{}, o.Transfers)}
	header, err := c.requestMetadata()
	if err != nil {
		return nil, err
	}
	options := append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connectionWindow),
		grpc.WithSharedWriteBuffer(true),
		// A peer that vanished without a word ends the streams that wait on it. Servers
		// refuse pings that come more often than every 5 minutes unless told otherwise.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 6 * time.Minute, Timeout: 20 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceive)),
		grpc.WithChainUnaryInterceptor(c.unary(header)),
		grpc.WithChainStreamInterceptor(c.stream(header)),
	}, o.DialOptions...)
	if c.conn, err = grpc.NewClient(server, options...); err != nil {
		return nil, fmt.Errorf("dial %q: %w", server, err)
	}
	c.cas = repb.NewContentAddressableStorageClient(c.conn)
	c.bytes = bytestream.NewByteStreamClient(c.conn)
	c.caps = repb.NewCapabilitiesClient(c.conn)
	c.cache = repb.NewActionCacheClient(c.conn)
	c.exec = repb.NewExecutionClient(c.conn)
	c.ops = longrunningpb.NewOperationsClient(c.conn)
	return c, nil
}

// Close ends the connection and the calls on it.
func (c *Client) Close() error { return c.conn.Close() }

// Server returns the address given to Dial.
func (c *Client) Server() string { return c.server }

// Instance returns the instance name given to Dial.
func (c *Client) Instance() string { return c.instance }

// Function returns the digest function in which the Client names content.
func (c *Client) Function() digest.Function { return c.fn }

// acquire waits for a free transfer slot; the returned function frees it.
func (c *Client) acquire(ctx context.Context) (func(), error) {
	select {
	case c.transfers <- struct{}{}:
		return func() { <-c.transfers }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
