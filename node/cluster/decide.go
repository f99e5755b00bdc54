package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bgrid-node/bgrid-node/node/cluster/peerpb"
)

// What a node without a cluster does next.
type stepKind int

const (
	stepWait   stepKind = iota // for others
	stepJoin                   // the cluster of via
	stepFound                  // a cluster of founders
	stepRefuse                 // people must do something
)

// step is what decide says. reason is one line for people.
type step struct {
	kind     stepKind
	reason   string
	via      string                  // for stepJoin: an address of a member
	founders []*peerpb.DiscoverReply // for stepFound: this node first
}

// decide says what a node that has no log does, by what it is itself and by what
// the peers that it reached answered. It is the same on each node: of nodes that
// see each other, one founds and the others wait for it.
func decide(self *peerpb.DiscoverReply, peers []*peerpb.DiscoverReply) step {
	others, twin := distinct(self, peers)
	if twin != nil {
		return step{kind: stepRefuse, reason: fmt.Sprintf("--node-id %s: the node at %s has the same id; each node needs one of its own", self.NodeId, twin.Address)}
	}
	if s, ok := decideFormed(self, others); ok {
		return s
	}
	switch {
	case self.ClusterId != "":
		return step{reason: fmt.Sprintf("waiting for a member of the cluster %s that this node was accepted by", self.ClusterId)}
	case self.Expect == 0:
		return step{reason: "waiting for a member of a cluster to join: --bootstrap-expect is not set"}
	}
	others = slices.DeleteFunc(others, func(o *peerpb.DiscoverReply) bool { return o.Expect == 0 }) // they only join
	for _, o := range others {
		if text := unlike(self, o); text != "" {
			return step{kind: stepRefuse, reason: text}
		}
	}
	if len(others)+1 < int(self.Expect) {
		return step{reason: fmt.Sprintf("waiting for nodes to found a cluster with: see %s, which is %d of --bootstrap-expect %d",
			names(append([]*peerpb.DiscoverReply{self}, others...)), len(others)+1, self.Expect)}
	}
	return decideFounder(self, others)
}

// decideFormed looks for a cluster that exists.
func decideFormed(self *peerpb.DiscoverReply, others []*peerpb.DiscoverReply) (step, bool) {
	var via *peerpb.DiscoverReply
	for _, o := range others {
		if !o.Formed || o.Removed || o.ClusterId == "" {
			continue
		}
		if via != nil && via.ClusterId != o.ClusterId {
			return step{kind: stepRefuse, reason: fmt.Sprintf("the peers are members of two clusters: %s of %s, %s of %s; --peers must name one",
				via.NodeId, via.ClusterId, o.NodeId, o.ClusterId)}, true
		}
		if via == nil || (via.LeaderId == "" && o.LeaderId != "") {
			via = o
		}
	}
	switch {
	case via == nil:
		return step{}, false
	case self.ClusterId != "" && self.ClusterId != via.ClusterId:
		return step{kind: stepRefuse, reason: fmt.Sprintf("this data directory belongs to the cluster %s, the node %s to %s: a node that changes its cluster needs an empty data directory",
			self.ClusterId, via.NodeId, via.ClusterId)}, true
	case self.GrantedCluster == via.ClusterId: // one of its founders: its log comes by itself
		return step{reason: fmt.Sprintf("waiting for the log of the cluster %s that node %s founded", via.ClusterId, self.GrantedTo)}, true
	case self.HasData:
		return step{kind: stepRefuse, reason: fmt.Sprintf("this node has jobs or results of its own, and the cluster %s of node %s exists: a node that joins needs an empty data directory",
			via.ClusterId, via.NodeId)}, true
	}
	return step{kind: stepJoin, via: via.Address, reason: fmt.Sprintf("joining the cluster %s of node %s", via.ClusterId, via.NodeId)}, true
}

// decideFounder chooses among nodes that have no cluster and are enough.
func decideFounder(self *peerpb.DiscoverReply, others []*peerpb.DiscoverReply) step {
	all := append([]*peerpb.DiscoverReply{self}, others...)
	slices.SortFunc(all, foundsBefore)
	if len(all) > 1 && all[1].HasData {
		owners := slices.DeleteFunc(slices.Clone(all), func(r *peerpb.DiscoverReply) bool { return !r.HasData })
		return step{kind: stepRefuse, reason: fmt.Sprintf("the nodes %s each have jobs or results of their own: only one of them can begin a cluster, the others need empty data directories", names(owners))}
	}
	founders := all[:self.Expect]
	switch {
	case founders[0] == self:
		return step{kind: stepFound, founders: founders, reason: "founding a cluster of " + names(founders)}
	case !slices.Contains(founders, self):
		return step{reason: fmt.Sprintf("waiting for node %s to found a cluster of %s, to join it", founders[0].NodeId, names(founders))}
	}
	return step{reason: fmt.Sprintf("waiting for node %s to found the cluster", founders[0].NodeId)}
}

// foundsBefore orders nodes: who has data first, then by id.
func foundsBefore(a, b *peerpb.DiscoverReply) int {
	if a.HasData != b.HasData {
		if a.HasData {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.NodeId, b.NodeId)
}

// distinct returns the other nodes, each once and by id, and one that has this
// node's id without being it.
func distinct(self *peerpb.DiscoverReply, peers []*peerpb.DiscoverReply) (others []*peerpb.DiscoverReply, twin *peerpb.DiscoverReply) {
	byID := map[string]*peerpb.DiscoverReply{}
	for _, p := range peers {
		switch {
		case p.NodeId != self.NodeId:
			byID[p.NodeId] = p
		case string(p.Instance) != string(self.Instance):
			twin = p
		}
	}
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		others = append(others, byID[id])
	}
	return others, twin
}

// unlike says which setting keeps two nodes from founding a cluster together.
func unlike(self, other *peerpb.DiscoverReply) string {
	if other.Expect != self.Expect {
		return fmt.Sprintf("--bootstrap-expect is %d on node %s and %d here: it must be the same on all", other.Expect, other.NodeId, self.Expect)
	}
	if other.CommandVersion != self.CommandVersion {
		return fmt.Sprintf("node %s knows version %d of the commands, this node %d: found the cluster with one version of bgrid-node", other.NodeId, other.CommandVersion, self.CommandVersion)
	}
	return differs(self.Settings, other.Settings, other.NodeId)
}

// differs names the first setting that is not the same here and on another node;
// "" when all are.
func differs(here, there map[string]string, other string) string {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(here)), maps.Keys(there))
	slices.Sort(keys)
	for _, k := range keys {
		if here[k] != there[k] {
			return fmt.Sprintf("--%s is %q on node %s and %q here: it must be the same on all members", k, there[k], other, here[k])
		}
	}
	return ""
}

func names(nodes []*peerpb.DiscoverReply) string {
	ids := make([]string, len(nodes))
	for i, n := range nodes {
		ids[i] = n.NodeId
	}
	slices.Sort(ids)
	return strings.Join(ids, ", ")
}
