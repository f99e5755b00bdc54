package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/bgrid-node/bgrid-node/node/cluster/peerpb"
)

// Status is how the cluster is, as one node sees it. Its JSON is stable.
type Status struct {
	Node      string         `json:"node"`       // who tells it
	ClusterID string         `json:"cluster_id"` // "": member of none yet
	Leader    string         `json:"leader"`     // "": none is known
	Term      uint64         `json:"term"`
	Quorum    bool           `json:"quorum"`
	Problem   string         `json:"problem,omitempty"` // what keeps the node from being a member
	Members   []MemberStatus `json:"members"`
}

// The states of a member.
const (
	StateLeader      = "leader"
	StateFollower    = "follower"
	StateCandidate   = "candidate"
	StateUnreachable = "unreachable"
)

// MemberStatus is how one member is.
type MemberStatus struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	Voter   bool   `json:"voter"`
	State   string `json:"state"` // one of the constants above
	Term    uint64 `json:"term"`
	// Applied is the last entry of the log in its stores, Lag how many entries it
	// is behind the leader.
	Applied uint64 `json:"applied_index"`
	Lag     uint64 `json:"lag_entries"`
	// LastContact is when it heard from the leader, in milliseconds ago; 0 on the
	// leader, negative: never.
	LastContact int64  `json:"last_contact_ms"`
	Snapshot    uint64 `json:"snapshot_index"`
	LogBytes    int64  `json:"log_bytes"`
	DiskUsed    uint64 `json:"disk_used_bytes"`
	DiskFree    uint64 `json:"disk_free_bytes"`
	Version     string `json:"version"`
	Trouble     string `json:"trouble,omitempty"` // why it cannot be reached, or cannot apply the log

	lastLog uint64
}

// Status asks all members how they are. One that does not answer in time is told
// as unreachable.
func (c *Cluster) Status(ctx context.Context) Status {
	s := Status{Node: c.o.NodeID, ClusterID: c.id.get().ClusterID, Term: c.raft.Term()}
	s.Leader, _ = c.Leader()
	s.Quorum, _ = c.Quorum()
	c.mu.Lock()
	s.Problem = c.problem
	c.mu.Unlock()
	members := c.Members()
	s.Members = make([]MemberStatus, len(members))
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var asked sync.WaitGroup
	for i, m := range members {
		asked.Go(func() { s.Members[i] = c.statusOf(ctx, m) })
	}
	asked.Wait()
	newest := uint64(0)
	for _, m := range s.Members {
		newest = max(newest, m.lastLog)
	}
	for i := range s.Members {
		if m := &s.Members[i]; m.State != StateUnreachable && m.lastLog > 0 {
			m.Lag = newest - min(newest, m.lastLog)
		}
	}
	return s
}

// statusOf asks one member.
func (c *Cluster) statusOf(ctx context.Context, m Member) MemberStatus {
	s, err := MemberStatus{}, error(nil)
	if m.ID == c.o.NodeID {
		s = c.alone()
	} else if r := c.remote(m.ID); r != nil {
		s, err = r.status(ctx)
	} else {
		err = ErrNotMember
	}
	s.ID, s.Address, s.Voter = m.ID, m.Address, m.Voter
	if err != nil {
		s.State, s.Trouble = StateUnreachable, err.Error()
	}
	return s
}

func (r *remote) status(ctx context.Context) (MemberStatus, error) {
	reply, err := peerpb.NewPeerClient(r.data).Status(ctx, &peerpb.StatusRequest{Alone: true})
	if err != nil {
		if _, _, _, trouble := r.state(); trouble != "" {
			return MemberStatus{}, fmt.Errorf("%s", trouble)
		}
		return MemberStatus{}, err
	}
	var s struct {
		MemberStatus
		LastLog uint64 `json:"last_index"`
	}
	if err := json.Unmarshal(reply.Json, &s); err != nil {
		return MemberStatus{}, fmt.Errorf("read the status of node %s: %w", r.id, err)
	}
	s.lastLog = s.LastLog
	return s.MemberStatus, nil
}

// alone is how this node is.
func (c *Cluster) alone() MemberStatus {
	st := c.raft.Status()
	s := MemberStatus{
		ID: c.o.NodeID, Address: c.o.Advertise, State: stateName(st.State), Term: st.Term, Applied: st.Applied,
		LastContact: st.LastContact.Milliseconds(), Snapshot: st.Snapshot, LogBytes: st.LogBytes, Version: c.o.Build, lastLog: st.LastLog,
	}
	if st.LastContact < 0 {
		s.LastContact = -1
	}
	if c.o.Disk != nil {
		s.DiskUsed, s.DiskFree = c.o.Disk()
	}
	if st.Trouble != nil {
		s.Trouble = st.Trouble.Error()
	}
	return s
}

func stateName(raft string) string {
	switch raft {
	case "Leader":
		return StateLeader
	case "Follower":
		return StateFollower
	}
	return StateCandidate
}

func (c *Cluster) statusJSON(ctx context.Context, alone bool) ([]byte, error) {
	if !alone {
		return json.Marshal(c.Status(ctx))
	}
	s := c.alone()
	return json.Marshal(struct {
		MemberStatus
		LastLog uint64 `json:"last_index"`
	}{s, s.lastLog})
}
