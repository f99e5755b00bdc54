package placement

import "google.golang.org/grpc"

// DialOptions make connections to members fit for blobs: windows and buffers as
// large as those that the servers have for their clients.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithInitialWindowSize(4 << 20), grpc.WithInitialConnWindowSize(8 << 20),
		grpc.WithWriteBufferSize(256 << 10), grpc.WithReadBufferSize(256 << 10), grpc.WithSharedWriteBuffer(true),
	}
}
