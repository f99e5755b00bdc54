package route

import (
	"context"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/bgrid-node/bgrid-node/node/sched"
)

// Metadata by which a node tells the leader of a call that it passes on. They mean
// something on the peer port only.
const (
	keyOperation = "bgrid-operation-id"
	keyClient    = "bgrid-client"
)

// passOn makes the metadata of a client's call those of the call to the leader.
func passOn(ctx context.Context, o sched.Origin) context.Context {
	in, _ := metadata.FromIncomingContext(ctx)
	out := metadata.MD{}
	for k, v := range in {
		if !ofTheTransport(k) {
			out[k] = v
		}
	}
	out.Set(keyClient, o.Client)
	if o.OperationID != "" {
		out.Set(keyOperation, o.OperationID)
	}
	return metadata.NewOutgoingContext(ctx, out)
}

// ofTheTransport tells whether a key is about the connection that a call came by.
func ofTheTransport(key string) bool {
	switch key {
	case "content-type", "user-agent", "te", keyClient, keyOperation:
		return true
	}
	return strings.HasPrefix(key, ":") || strings.HasPrefix(key, "grpc-")
}

// originOf reads what passOn wrote.
func originOf(ctx context.Context) sched.Origin {
	md, _ := metadata.FromIncomingContext(ctx)
	return sched.Origin{OperationID: first(md, keyOperation), Client: first(md, keyClient)}
}

func first(md metadata.MD, key string) string {
	if v := md.Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// clientOf is the address of the caller.
func clientOf(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		return p.Addr.String()
	}
	return ""
}
