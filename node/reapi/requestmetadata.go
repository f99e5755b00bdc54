package reapi

import (
	"context"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// requestMetadataKey is where the specification has a client's RequestMetadata
// (REAPI, RequestMetadata).
const requestMetadataKey = "build.bazel.remote.execution.v2.requestmetadata-bin"

// requestMetadataKeys are all under which clients in use send it.
func requestMetadataKeys() [3]string {
	return [...]string{
		requestMetadataKey,
		"requestmetadata-bin",
		"google.devtools.remoteexecution.v1test.requestmetadata-bin",
	}
}

// maxRequestMetadata bounds in bytes what is kept of it.
const maxRequestMetadata = 8 << 10

// requestMetadataOf returns what a client tells of the build that a call belongs
// to; nil when it tells nothing, or nothing that can be read: it is for people and
// fairness, and no reason to refuse a call.
func requestMetadataOf(ctx context.Context) *repb.RequestMetadata {
	md, ok := metadata.FromIncomingContext(ctx)
	if !ok {
		return nil
	}
	for _, key := range requestMetadataKeys() {
		for _, value := range md[key] {
			m := new(repb.RequestMetadata)
			if len(value) <= maxRequestMetadata && proto.Unmarshal([]byte(value), m) == nil {
				return m
			}
		}
	}
	return nil
}
