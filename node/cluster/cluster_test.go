package cluster

import (
	"testing"
)

func TestNodesStartedOneAfterTheOtherFormOneCluster(t *testing.T) {
	f := newFleet(t)
	c, a, b := f.add("c", nil), f.add("a", nil), f.add("b", nil)
	c.start()
	f.until("c says what it waits for", func() bool { return c.Status(testContext(t)).Problem != "" })
	b.start()
	f.until("b says what it waits for", func() bool { return b.Status(testContext(t)).Problem != "" })
	a.start()
	f.formed(a, b, c)
	for _, n := range []*node{a, b, c} {
		<-n.Formed()
		name := "from-" + n.id
		n.commit(name)
		if !n.has(name) {
			t.Errorf("%s does not have what it was told to be committed", n.id)
		}
		for _, reader := range []*node{a, b, c} {
			if err := reader.ReadBarrier(testContext(t)); err != nil {
				t.Fatal(err)
			}
			if !reader.has(name) {
				t.Errorf("%s, after a read barrier, does not have what %s acknowledged", reader.id, n.id)
			}
		}
	}
}

// TestOneCluster holds what leaves a cluster as it was.
func TestOneCluster(t *testing.T) {
	f, nodes := trio(t)
	for _, c := range []struct {
		rule  string
		check func(*testing.T, *fleet, []*node)
	}{
		{"a wrong token is refused", aWrongTokenIsRefused},
		{"a node with other settings is refused", aNodeWithOtherSettingsIsRefused},
		{"who cannot be a member", whoCannotBeAMember},
		{"refusals of entries keep their meaning through a follower", refusalsOfEntriesKeepTheirMeaningThroughAFollower},
		{"reads see what was acknowledged before them", readsSeeWhatWasAcknowledgedBeforeThem},
		{"leadership is handed over", leadershipIsHandedOver},
	} {
		t.Run(c.rule, func(t *testing.T) { c.check(t, f, nodes) })
	}
}
