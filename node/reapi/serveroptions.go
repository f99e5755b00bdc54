package reapi

import (
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // clients may compress their messages, as they could with BuildGrid
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"
)

// Transport settings.
const (
	maxRequest       = 4 << 20   // of a request: what clients assume, and grpc-go's own default
	streamWindow     = 4 << 20   // HTTP/2 flow control: a stream can fill a fast link
	connectionWindow = 8 << 20   // for all streams of a connection together
	bufferBytes      = 256 << 10 // of each direction of a connection in use
	maxStreams       = 1 << 15   // of one connection: 10,000 waiting Executes and more
)

// ServerOptions are what a *grpc.Server needs to serve Register's services well:
// the codec, windows and buffers for blobs, and patience with clients that ping
// often, as Bazel and recc do while they wait. Requests above 4 MiB are
// RESOURCE_EXHAUSTED, those that are compressed with gzip too, by what they unpack to.
func ServerOptions() []grpc.ServerOption {
	pool := new(arenaPool)
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec(pool)), experimental.BufferPool(pool),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.InitialWindowSize(streamWindow), grpc.InitialConnWindowSize(connectionWindow),
		grpc.WriteBufferSize(bufferBytes), grpc.ReadBufferSize(bufferBytes), grpc.SharedWriteBuffer(true),
		grpc.MaxConcurrentStreams(maxStreams),
		// A client may ping every 5 s, also between calls; one that vanished is
		// noticed, and its streams end.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
	}
}
