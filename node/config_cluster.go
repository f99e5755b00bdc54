package node

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/bgrid-node/bgrid-node/node/cluster"
)

const groupCluster = "Cluster"

// ClusterConfig is what makes a node a member of a cluster. Without Peers, the node
// stands alone.
type ClusterConfig struct {
	NodeID          string
	PeerListen      string // host:port
	AdvertisePeer   string // host:port; "": see advertised
	Peers           []string
	BootstrapExpect int // 0: it only joins
	TokenFile       string
	Replicas        int
	ElectionTimeout time.Duration
}

// DefaultPeerPort is where nodes of a cluster talk to each other.
const DefaultPeerPort = "50052"

// dnsPeers begins the one element of Peers that is looked up.
const dnsPeers = "dns:"

// maxReplicas bounds ClusterConfig.Replicas: clusters have at most a few nodes.
const maxReplicas = 16

func clusterOptions() []Option {
	nodeID := textOption(groupCluster, "node-id", "NAME", "the host's name",
		"name of this node in the cluster, the same over restarts", func(c *Config) *string { return &c.Cluster.NodeID })
	nodeID.initial = func(_ *Config, m Machine) string { return m.hostname() }
	advertise := Option{
		Group: groupCluster, Name: "advertise-peer", Arg: "HOST:PORT", Default: "",
		Help: "where the other nodes reach this one's --peer-listen; needed when that is not an address of its own and --node-id is no name that they can look up",
	}
	advertise.set, advertise.get = scalar(func(c *Config) *string { return &c.Cluster.AdvertisePeer }, parseAny, formatText)
	token := Option{
		Group: groupCluster, Name: "cluster-token-file", Arg: "FILE", Default: "",
		Help: "file with the secret that all nodes share, 16 bytes at least; without it nobody joins",
	}
	token.set, token.get = scalar(func(c *Config) *string { return &c.Cluster.TokenFile }, parseAny, formatText)
	peers := Option{
		Group: groupCluster, Name: "peers", Arg: "HOST:PORT", List: true, Default: "",
		Help: "nodes of the cluster, this one among them or not, or `dns:NAME:PORT` for all addresses of a name; they need not answer yet. " +
			"Without it, the node stands alone",
	}
	peers.set, peers.get = list(func(c *Config) *[]string { return &c.Cluster.Peers }, "", parsePeer, formatText)
	return []Option{
		peers,
		nodeID,
		textOption(groupCluster, "peer-listen", "HOST:PORT", "0.0.0.0:"+DefaultPeerPort,
			"address for the other nodes, who prove that they know the token", func(c *Config) *string { return &c.Cluster.PeerListen }),
		advertise,
		countOption(groupCluster, "bootstrap-expect", "0",
			"form a new cluster when so many nodes are there, unless there is one; the same on all nodes, and harmless once it is formed. 0: only join",
			func(c *Config) *int { return &c.Cluster.BootstrapExpect }),
		token,
		countOption(groupCluster, "replicas", "2",
			"on how many nodes each blob is before its upload is acknowledged", func(c *Config) *int { return &c.Cluster.Replicas }),
		durationOption(groupCluster, "election-timeout", "750ms",
			"how long the leader may be silent before another is elected; the same on all nodes", func(c *Config) *time.Duration { return &c.Cluster.ElectionTimeout }),
	}
}

func parseAny(s string) (string, error) { return s, nil }

// parsePeer checks host:port or dns:name:port.
func parsePeer(s string) (string, error) {
	host, port, err := net.SplitHostPort(strings.TrimPrefix(s, dnsPeers))
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || n == 0 {
		return "", fmt.Errorf("%q: want HOST:PORT or dns:NAME:PORT", s)
	}
	return s, nil
}

// Clustered tells whether the node is a member of a cluster, or is to be.
func (c *Config) Clustered() bool { return len(c.Cluster.Peers) > 0 }

func (c *Config) validateCluster() error {
	k := &c.Cluster
	if !c.Clustered() {
		if k.BootstrapExpect > 0 || k.TokenFile != "" {
			return errors.New("--bootstrap-expect and --cluster-token-file are for nodes of a cluster: name the nodes with --peers")
		}
		return nil
	}
	switch {
	case k.TokenFile == "":
		return errors.New("--peers needs --cluster-token-file: nobody joins without the secret that the nodes share")
	case !cluster.ValidNodeID(k.NodeID):
		return fmt.Errorf("--node-id %q: want %s", k.NodeID, cluster.NodeIDRule)
	case k.Replicas < 1 || k.Replicas > maxReplicas:
		return fmt.Errorf("--replicas %d: want 1 to %d", k.Replicas, maxReplicas)
	case k.ElectionTimeout < 50*time.Millisecond || k.ElectionTimeout > time.Minute:
		return fmt.Errorf("--election-timeout %s: want 50ms to 1m", k.ElectionTimeout)
	}
	for _, p := range k.Peers {
		if strings.HasPrefix(p, dnsPeers) && len(k.Peers) > 1 {
			return fmt.Errorf("--peers %s: a name that is looked up stands alone", p)
		}
	}
	if _, _, err := net.SplitHostPort(k.PeerListen); err != nil {
		return fmt.Errorf("--peer-listen %q: want HOST:PORT", k.PeerListen)
	}
	_, err := c.advertised()
	return err
}

// advertised returns where the other nodes reach this one: what was said, or the
// address of --peer-listen, or else the node's name.
func (c *Config) advertised() (string, error) {
	k := &c.Cluster
	if k.AdvertisePeer != "" {
		if host, _, err := net.SplitHostPort(k.AdvertisePeer); err != nil || host == "" {
			return "", fmt.Errorf("--advertise-peer %q: want HOST:PORT", k.AdvertisePeer)
		}
		return k.AdvertisePeer, nil
	}
	host, port, err := net.SplitHostPort(k.PeerListen)
	if err != nil {
		return "", fmt.Errorf("--peer-listen %q: want HOST:PORT", k.PeerListen)
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = k.NodeID
	}
	return net.JoinHostPort(host, port), nil
}

// minToken is the shortest cluster token in bytes.
const minToken = 16

// readToken reads the secret of the cluster; blanks around it do not count.
func readToken(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--cluster-token-file: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if len(token) < minToken {
		return nil, fmt.Errorf("--cluster-token-file %s: has %d bytes, want %d at least", path, len(token), minToken)
	}
	return []byte(token), nil
}
