package worker

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // the client's part of healthCheckConfig
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/bgrid-node/bgrid-node/node/client"
)

// Settings of the connections.
const (
	// pingAfter and pingWait: a peer that vanished without a word is noticed within
	// their sum. grpc-go pings no more often than every 10 s.
	pingAfter = 10 * time.Second
	pingWait  = 5 * time.Second
	// patience is for how long the blobs of a running action wait for a server that
	// is away.
	patience = 15 * time.Minute
	// A server that is back is found within lastDial.
	firstDial = 100 * time.Millisecond
	lastDial  = 2 * time.Second
)

// ofEqualServers has calls go to those of several servers that say that they are
// ready (grpc.health.v1): a member of a cluster that is cut off from the others, or
// about to end, still answers. Servers that do not tell are taken for ready.
const ofEqualServers = `{"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}`

// target returns what to dial, and the options that it needs: calls go to all of
// several servers that are ready.
func target(servers []string) (string, []grpc.DialOption) {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingWait, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstDial, Multiplier: 1.6, Jitter: 0.3, MaxDelay: lastDial},
			MinConnectTimeout: pingWait,
		}),
	}
	if len(servers) == 1 {
		return servers[0], options
	}
	var state resolver.State
	for _, s := range servers {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: s}}})
	}
	r := manual.NewBuilderWithScheme("servers")
	r.InitialState(state)
	return "servers:///" + strings.Join(servers, ","), append(options, grpc.WithResolvers(r), grpc.WithAuthority(servers[0]),
		grpc.WithDefaultServiceConfig(ofEqualServers))
}

func dialBlobs(o *Options) (*client.Client, error) {
	to, options := target(o.Servers)
	return client.Dial(to, o.Instance, client.Options{
		Transfers: min(8+2*o.Slots, 64), Patience: patience,
		Tool: "bgrid-node worker", ToolVersion: o.Version, DialOptions: options,
	})
}

func dialBots(o *Options) (*grpc.ClientConn, error) {
	to, options := target(o.Servers)
	conn, err := grpc.NewClient(to, options...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", to, err)
	}
	return conn, nil
}
