package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
)

// HasState tells whether this member was bootstrapped or has heard from a leader:
// now or before a restart.
func (r *Raft) HasState() (bool, error) {
	has, err := raft.HasExistingState(r.entries, r.store, r.snaps)
	if err != nil {
		return false, fmt.Errorf("look for the state of raft: %w", err)
	}
	return has, nil
}

// AddVoter adds a member, gives one that has none a vote, or changes its address.
// It must run on the leader, or it gets ErrNotLeader; so do the two below.
func (r *Raft) AddVoter(ctx context.Context, id, address string) error {
	return r.change(ctx, "add voter "+id, func(n *raft.Raft) raft.Future {
		return n.AddVoter(raft.ServerID(id), raft.ServerAddress(address), 0, 0)
	})
}

// AddNonvoter adds a member that gets the log and has no vote.
func (r *Raft) AddNonvoter(ctx context.Context, id, address string) error {
	return r.change(ctx, "add non-voter "+id, func(n *raft.Raft) raft.Future {
		return n.AddNonvoter(raft.ServerID(id), raft.ServerAddress(address), 0, 0)
	})
}

// Remove removes a member. A leader that removes itself steps down.
func (r *Raft) Remove(ctx context.Context, id string) error {
	return r.change(ctx, "remove "+id, func(n *raft.Raft) raft.Future {
		return n.RemoveServer(raft.ServerID(id), 0, 0)
	})
}

func (r *Raft) change(ctx context.Context, what string, do func(*raft.Raft) raft.Future) error {
	node := r.raft()
	if node.State() != raft.Leader {
		return fmt.Errorf("%s: %w", what, ErrNotLeader)
	}
	if err := r.await(ctx, func() error { return do(node).Error() }); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Configuration returns the members that this one knows of, which may not be
// committed yet, and the Raft index of that configuration as far as it is known.
func (r *Raft) Configuration() ([]raft.Server, error) {
	f := r.raft().GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, fmt.Errorf("read raft configuration: %w", err)
	}
	return f.Configuration().Servers, nil
}

// Snapshot writes a marker and cuts the log off, as far as it is not kept for
// followers that are a little behind.
func (r *Raft) Snapshot(ctx context.Context) error {
	err := r.await(ctx, func() error { return r.raft().Snapshot().Error() })
	if err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

// RaftStatus is how a member is doing. Indexes are Raft's.
type RaftStatus struct {
	NodeID      string
	State       string // "Follower", "Candidate", "Leader" or "Shutdown"
	Term        uint64
	Leader      string        // "" while none is known
	LastLog     uint64        // last entry here
	Committed   uint64        // last entry that is known to be committed
	Applied     uint64        // last entry whose commands are in the stores
	Snapshot    uint64        // of the last marker: restarts begin there
	LastContact time.Duration // since the leader was heard; 0 on the leader, negative: never
	LogBytes    int64         // size of the log's file
	Servers     []raft.Server
	Trouble     error // why the stores do not take an entry, which is tried again
}

// Status returns how this member is doing.
func (r *Raft) Status() RaftStatus {
	node := r.raft()
	applied, _ := r.fsm.position()
	servers, _ := r.Configuration()
	s := RaftStatus{
		NodeID: r.o.NodeID, State: node.State().String(), Term: node.CurrentTerm(), Leader: r.Leader(),
		LastLog: node.LastIndex(), Committed: node.CommitIndex(), Applied: applied, Snapshot: r.snaps.index(),
		LastContact: -1, LogBytes: fileSize(filepath.Join(r.o.Dir, logFile)), Servers: servers, Trouble: r.fsm.troubled(),
	}
	if last := node.LastContact(); node.State() == raft.Leader {
		s.LastContact = 0
	} else if !last.IsZero() {
		s.LastContact = time.Since(last)
	}
	return s
}
