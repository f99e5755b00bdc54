package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"time"

	"google.golang.org/grpc"

	"github.com/bgrid-node/bgrid-node/node/cluster/link"
	"github.com/bgrid-node/bgrid-node/raftfsm"
)

// Options are what a clustered node is made of.
type Options struct {
	// NodeID names the node, for good: 1 to 255 letters, digits, dots, dashes and
	// underscores.
	NodeID string
	// Advertise is HOST:PORT of the peer port, as the other nodes reach it.
	Advertise string
	// Listener is the peer port. Close closes it.
	Listener net.Listener
	// Dial opens plain connections to peers. nil: TCP.
	Dial link.DialFunc
	// Token is the cluster's secret, at least link.MinToken bytes.
	Token []byte
	// Peers says where other nodes may be found. nil: nowhere; the node only waits
	// to be found, or to be told by Enter.
	Peers PeerSource
	// Expect is how many nodes found the cluster; 0: this node only joins one.
	Expect int
	// Dir is where the node's identity is kept, and in raft/ its log.
	Dir string
	// Raft is what the log applies to. Dir, NodeID, Transport and Logger are set by Open.
	Raft raftfsm.RaftOptions
	// Settings are what all members must have in common, by the names of their
	// options: what decides what a command does.
	Settings map[string]string
	// Register adds the services that the node offers to its peers. nil: none.
	Register func(grpc.ServiceRegistrar)
	// ServerOptions and DialOptions are for the connections of Register's services.
	ServerOptions []grpc.ServerOption
	DialOptions   []grpc.DialOption
	// Disk tells the bytes that the node's data take, and those that its disk has
	// left. nil: unknown.
	Disk func() (used, free uint64)
	// Build is the version of the binary, for people.
	Build  string
	Logger *slog.Logger // nil: slog.Default()
}

// Times of the membership.
const (
	roundEvery       = 500 * time.Millisecond // while a node has no cluster
	announceEvery    = 5 * time.Second        // while it has
	rediscoverEvery  = 2 * time.Second        // while a member cannot be reached
	askTime          = 2 * time.Second        // for one question to one node
	noQuorumPatience = 10 * time.Second       // then reads fail rather than wait
)

// NodeIDRule is what ValidNodeID takes, for people. It keeps names free of what separates them elsewhere, "@" among it.
const NodeIDRule = "1 to 255 letters, digits, dots, dashes and underscores, beginning with a letter or digit"

// ValidNodeID tells whether a node may have this id.
func ValidNodeID(id string) bool {
	return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$`).MatchString(id)
}

// Validate says what is wrong, in one line for people.
func (o *Options) Validate() error {
	switch {
	case !ValidNodeID(o.NodeID):
		return fmt.Errorf("--node-id %q: want %s", o.NodeID, NodeIDRule)
	case len(o.Token) < link.MinToken:
		return fmt.Errorf("--cluster-token-file: the token has %d bytes, want at least %d", len(o.Token), link.MinToken)
	case o.Listener == nil || o.Dir == "":
		return errors.New("open cluster: a listener and a directory are needed")
	case o.Expect < 0:
		return fmt.Errorf("--bootstrap-expect %d: want 0 or more", o.Expect)
	}
	if _, _, err := net.SplitHostPort(o.Advertise); err != nil {
		return fmt.Errorf("advertised peer address %q: want HOST:PORT", o.Advertise)
	}
	return nil
}
