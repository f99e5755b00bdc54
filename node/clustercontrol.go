package node

import (
	"net"

	"github.com/bgrid-node/bgrid-node/node/cluster"
)

// What the command line sees of a cluster.
type (
	// ClusterControl asks a node of a cluster, over its peer port.
	ClusterControl = cluster.Control
	// ClusterStatus is what ClusterControl.Status returns.
	ClusterStatus = cluster.Status
	// ClusterMember is one of its members.
	ClusterMember = cluster.MemberStatus
)

// ClusterUnreachable is the state of a member that does not answer.
const ClusterUnreachable = cluster.StateUnreachable

// DialCluster returns the control of the node whose --peer-listen is HOST:PORT, on
// this machine when it names no host. The file holds the cluster's token.
func DialCluster(peer, tokenFile string, b Build) (*ClusterControl, error) {
	token, err := readToken(tokenFile)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(peer)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	return cluster.NewControl(net.JoinHostPort(host, port), token, b.Version, nil)
}
