package reapi

import (
	"context"
	"net/url"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/bgrid-node/bgrid-node/node/sched"
)

// clientIdentityKey is the trailing metadata in which BuildGrid tells the
// identity of an operation's client.
const clientIdentityKey = "buildgrid.v2.clientidentity-bin"

// maxIdentity bounds in bytes each part of an identity that a client claims.
const maxIdentity = 256

// clientOf names the caller: workflow, actor and subject where it sends all three
// as BuildGrid's clients do (written as a URL query, so that they can be told
// apart again), otherwise its address.
func clientOf(ctx context.Context) string {
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		actor, subject, workflow := first(md, "x-request-actor"), first(md, "x-request-subject"), first(md, "x-request-workflow")
		if actor != "" && subject != "" && workflow != "" {
			return url.Values{"actor": {actor}, "subject": {subject}, "workflow": {workflow}}.Encode()
		}
	}
	if o := sched.OriginOf(ctx); o.Client != "" {
		return o.Client
	}
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		return p.Addr.String()
	}
	return ""
}

func first(md metadata.MD, key string) string {
	values := md[key]
	if len(values) == 0 || len(values[0]) > maxIdentity {
		return ""
	}
	return values[0]
}

// clientIdentity serialises build.buildgrid.ClientIdentity{actor 1, subject 2,
// workflow 3} from what clientOf wrote; an address is the actor. nil for "".
func clientIdentity(client string) []byte {
	if client == "" {
		return nil
	}
	parts := [3]string{client}
	if q, err := url.ParseQuery(client); err == nil && q.Get("actor") != "" {
		parts = [3]string{q.Get("actor"), q.Get("subject"), q.Get("workflow")}
	}
	var wire []byte
	for i, part := range parts {
		if part != "" {
			wire = protowire.AppendTag(wire, protowire.Number(i+1), protowire.BytesType)
			wire = protowire.AppendString(wire, part)
		}
	}
	return wire
}
