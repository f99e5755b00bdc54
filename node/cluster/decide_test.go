package cluster

import (
	"strings"
	"testing"

	"github.com/bgrid-node/bgrid-node/node/cluster/peerpb"
)

type reply = peerpb.DiscoverReply

// blank is a node without a cluster that expects three.
func blank(id string, change ...func(*reply)) *reply {
	r := &reply{
		NodeId: id, Address: id + ":1", Instance: []byte(id), Expect: 3, CommandVersion: 1,
		Settings: map[string]string{"replicas": "2"},
	}
	for _, c := range change {
		c(r)
	}
	return r
}

func withData(r *reply)    { r.HasData = true }
func onlyJoins(r *reply)   { r.Expect = 0 }
func expects5(r *reply)    { r.Expect = 5 }
func newer(r *reply)       { r.CommandVersion = 2 }
func three(r *reply)       { r.Settings = map[string]string{"replicas": "3"} }
func otherTwin(r *reply)   { r.Instance = []byte("another process") }
func removed(r *reply)     { r.Removed = true }
func knowsLeader(r *reply) { r.LeaderId, r.LeaderAddress = "x", "x:1" }

func of(cluster string) func(*reply) {
	return func(r *reply) { r.ClusterId, r.Formed = cluster, true }
}

func acceptedBy(cluster string) func(*reply) { return func(r *reply) { r.ClusterId = cluster } }

func promised(cluster, founder string) func(*reply) {
	return func(r *reply) { r.GrantedCluster, r.GrantedTo = cluster, founder }
}

func TestWhatANodeWithoutAClusterDoes(t *testing.T) {
	for _, c := range []struct {
		name   string
		self   *reply
		peers  []*reply
		kind   stepKind
		reason string // in it
		via    string
	}{
		{"alone it waits", blank("a"), nil, stepWait, "see a, which is 1 of --bootstrap-expect 3", ""},
		{"its own answer does not count", blank("a"), []*reply{blank("a"), blank("b")}, stepWait, "see a, b, which is 2", ""},
		{"a node that two addresses reach counts once", blank("a"), []*reply{blank("b"), blank("b")}, stepWait, "which is 2", ""},
		{"the smallest id founds", blank("a"), []*reply{blank("b"), blank("c")}, stepFound, "a, b, c", ""},
		{"the others wait for it", blank("b"), []*reply{blank("a"), blank("c")}, stepWait, "waiting for node a to found", ""},
		{"those beyond the expected join later", blank("d"), []*reply{blank("a"), blank("b"), blank("c")}, stepWait, "a cluster of a, b, c, to join it", ""},
		{"the smallest ones found when more are there", blank("a"), []*reply{blank("d"), blank("b"), blank("c")}, stepFound, "a, b, c", ""},
		{"who has data founds", blank("c", withData), []*reply{blank("a"), blank("b")}, stepFound, "a, b, c", ""},
		{"and is waited for", blank("a"), []*reply{blank("b"), blank("d", withData), blank("c")}, stepWait, "waiting for node d", ""},
		{"two with data", blank("a"), []*reply{blank("b", withData), blank("c", withData)}, stepRefuse, "the nodes b, c each have", ""},
		{"an expectation of one founds alone", blank("a", func(r *reply) { r.Expect = 1 }), nil, stepFound, "of a", ""},
		{"without an expectation it founds nothing", blank("a", onlyJoins), []*reply{blank("b"), blank("c")}, stepWait, "--bootstrap-expect is not set", ""},
		{"nodes that only join do not count", blank("b"), []*reply{blank("a", onlyJoins), blank("c")}, stepWait, "see b, c, which is 2", ""},
		{"another expectation", blank("a"), []*reply{blank("b", expects5)}, stepRefuse, "--bootstrap-expect is 5 on node b and 3 here", ""},
		{"another setting", blank("a"), []*reply{blank("b", three)}, stepRefuse, `--replicas is "3" on node b and "2" here`, ""},
		{"another version", blank("a"), []*reply{blank("b", newer)}, stepRefuse, "node b knows version 2 of the commands, this node 1", ""},
		{"another node of the same id", blank("a"), []*reply{blank("a", otherTwin)}, stepRefuse, "--node-id a: the node at a:1 has the same id", ""},
		{"a cluster is joined", blank("a"), []*reply{blank("b"), blank("c", of("X"))}, stepJoin, "cluster X of node c", "c:1"},
		{"through one who knows the leader", blank("a"), []*reply{blank("b", of("X")), blank("c", of("X"), knowsLeader)}, stepJoin, "", "c:1"},
		{"not through one who was removed", blank("a"), []*reply{blank("b", of("X"), removed)}, stepWait, "", ""},
		{"not through one who has no log yet", blank("a"), []*reply{blank("b", acceptedBy("X"))}, stepWait, "", ""},
		{"two clusters", blank("a"), []*reply{blank("b", of("X")), blank("c", of("Y"))}, stepRefuse, "two clusters: b of X, c of Y", ""},
		{"data of its own and a cluster", blank("a", withData), []*reply{blank("b", of("X"))}, stepRefuse, "a node that joins needs an empty data directory", ""},
		{"accepted elsewhere", blank("a", acceptedBy("Y")), []*reply{blank("b", of("X"))}, stepRefuse, "belongs to the cluster Y, the node b to X", ""},
		{"accepted, it founds nothing", blank("a", acceptedBy("X")), []*reply{blank("b"), blank("c")}, stepWait, "the cluster X that this node was accepted by", ""},
		{"accepted, it asks again until it has the log", blank("a", acceptedBy("X")), []*reply{blank("b", of("X"))}, stepJoin, "", "b:1"},
		{"a founder gets its log by itself", blank("b", promised("X", "a")), []*reply{blank("a", of("X")), blank("c")}, stepWait, "waiting for the log of the cluster X that node a founded", ""},
		{"a promise for a cluster that never was", blank("b", promised("Z", "a")), []*reply{blank("a", of("X"))}, stepJoin, "", "a:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := decide(c.self, c.peers)
			if s.kind != c.kind || !strings.Contains(s.reason, c.reason) || s.via != c.via {
				t.Errorf("step %d via %q: %s; want %d via %q: %s", s.kind, s.via, s.reason, c.kind, c.via, c.reason)
			}
			if s.kind == stepFound && (s.founders[0].NodeId != c.self.NodeId || len(s.founders) != int(c.self.Expect)) {
				t.Errorf("founders %v", s.founders)
			}
		})
	}
}
