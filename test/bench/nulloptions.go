package main

import "google.golang.org/grpc"

// nullOptions are the node's transport settings without its interceptors and its
// codec: the floor is plain gRPC.
func nullOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(16 << 20), grpc.MaxSendMsgSize(16 << 20),
		grpc.InitialWindowSize(4 << 20), grpc.InitialConnWindowSize(8 << 20),
		grpc.WriteBufferSize(256 << 10), grpc.ReadBufferSize(256 << 10), grpc.SharedWriteBuffer(true),
		grpc.MaxConcurrentStreams(4096),
	}
}
