package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bgrid-node/bgrid-node/node"
)

func TestWhereAClusterCommandGoes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "node.yaml")
	if err := os.WriteFile(file, []byte("peers: [a:1, b:1]\npeer-listen: 0.0.0.0:7\ncluster-token-file: of-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name        string
		env         map[string]string
		peer        clusterPeer
		want, token string
		err         string
	}{
		{"flags", map[string]string{"BGRID_PEER_LISTEN": "env:1"}, clusterPeer{address: "flag:1", tokenFile: "f"}, "flag:1", "f", ""},
		{"environment", map[string]string{"BGRID_PEER_LISTEN": "env:1", "BGRID_CLUSTER_TOKEN_FILE": "e"}, clusterPeer{}, "env:1", "e", ""},
		{"configuration", nil, clusterPeer{config: file}, "0.0.0.0:7", "of-file", ""},
		{"configuration for what is left", nil, clusterPeer{config: file, address: "flag:1"}, "flag:1", "of-file", ""},
		{"nothing said", nil, clusterPeer{tokenFile: "f"}, defaultPeer, "f", ""},
		{"no token", nil, clusterPeer{}, "", "", "--cluster-token-file is needed"},
		{"no port", nil, clusterPeer{address: "host", tokenFile: "f"}, "", "", "--peer host: want HOST:PORT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, name := range []string{"BGRID_PEER_LISTEN", "BGRID_CLUSTER_TOKEN_FILE", "BGRID_CONFIG"} {
				t.Setenv(name, c.env[name]) // which puts back what was there, in the end
				if c.env[name] == "" {
					_ = os.Unsetenv(name)
				}
			}
			err := c.peer.fill()
			switch {
			case c.err != "":
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %s", err, c.err)
				}
			case err != nil || c.peer.address != c.want || c.peer.tokenFile != c.token:
				t.Errorf("%s with %s: %v", c.peer.address, c.peer.tokenFile, err)
			}
		})
	}
}

func TestTheStatusOfAClusterIsATable(t *testing.T) {
	var out bytes.Buffer
	err := printCluster(&out, node.ClusterStatus{
		Node: "a", ClusterID: "X", Leader: "b", Term: 4, Quorum: true,
		Members: []node.ClusterMember{
			{ID: "a", Address: "a:1", Voter: true, State: "follower", Applied: 7, Lag: 2, LastContact: 12, DiskUsed: 3 << 20, DiskFree: 9 << 20, Version: "v"},
			{ID: "c", Address: "c:1", State: node.ClusterUnreachable, Trouble: "connection refused"},
		},
	}, false)
	want := `cluster X, led by b at term 4, as node a sees it
NODE  ADDRESS  STATE                     APPLIED  LAG  HEARD  DATA   FREE   VERSION  DETAIL
a     a:1      follower                  7        2    12 ms  3 MiB  9 MiB  v        -
c     c:1      unreachable, no vote yet  -        -    -      -      -      -        connection refused
`
	if err != nil || out.String() != want {
		t.Errorf("%v:\n%s", err, out.String())
	}
}
