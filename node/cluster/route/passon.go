package route

import (
	"context"
	"slices"
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
	keyRepeated  = "bgrid-repeated"
)

// passOn makes the metadata of a client's call those of the call to the leader.
// What gRPC does not let a client send stays behind: its servers take it, but it
// would fail the call.
func passOn(ctx context.Context, o sched.Origin) context.Context {
	in, _ := metadata.FromIncomingContext(ctx)
	out := metadata.MD{}
	for k, v := range in {
		if !ofTheTransport(k) && sendable(k, v...) {
			out[k] = v
		}
	}
	if sendable(keyClient, o.Client) {
		out.Set(keyClient, o.Client)
	}
	if o.OperationID != "" {
		out.Set(keyOperation, o.OperationID)
	}
	if o.Repeated {
		out.Set(keyRepeated, "1")
	}
	return metadata.NewOutgoingContext(ctx, out)
}

// ofTheTransport tells whether a key is about the connection that a call came by.
func ofTheTransport(key string) bool {
	switch key {
	case "connection", "content-type", "user-agent", "te", keyClient, keyOperation, keyRepeated:
		return true
	}
	return strings.HasPrefix(key, ":") || strings.HasPrefix(key, "grpc-")
}

// sendable tells whether gRPC takes metadata for sending (its PROTOCOL-HTTP2.md,
// Custom-Metadata).
func sendable(key string, values ...string) bool {
	if strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" || key == "" {
		return false
	}
	if strings.HasSuffix(key, "-bin") {
		return true
	}
	return !slices.ContainsFunc(values, func(v string) bool {
		return strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' })
	})
}

// originOf reads what passOn wrote.
func originOf(ctx context.Context) sched.Origin {
	md, _ := metadata.FromIncomingContext(ctx)
	return sched.Origin{OperationID: first(md, keyOperation), Client: first(md, keyClient), Repeated: first(md, keyRepeated) != ""}
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
