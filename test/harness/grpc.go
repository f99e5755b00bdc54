package harness

import (
	"context"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/bgrid-node/bgrid-node/node/client"
)

// answers asks a server for its capabilities.
func answers(ctx context.Context, address string) error {
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err = repb.NewCapabilitiesClient(conn).GetCapabilities(ctx, &repb.GetCapabilitiesRequest{InstanceName: Instance})
	return err
}

// Conn returns a plain connection to the node; the caller closes it.
func (n *Node) Conn() (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+n.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
}

// Client returns a client of the node; the caller closes it.
func (n *Node) Client(o client.Options) (*client.Client, error) {
	return client.Dial(n.GRPC, Instance, o)
}
