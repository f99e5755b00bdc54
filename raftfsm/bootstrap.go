package raftfsm

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// firstTerm is that of the marker which a cluster begins with.
const firstTerm = 1

// keyTerm is where Raft keeps the current term.
const keyTerm = "CurrentTerm"

// ErrHasState means that a member belongs to a cluster already.
var ErrHasState = errors.New("this member has a Raft log already")

// Bootstrap begins a cluster of the servers given, of which this member is one.
// Exactly one member of a new cluster may do so, once; the others get what its
// stores hold, which may be much when the node stood alone before, and the log
// from there. ErrHasState when it was done before.
//
// The cluster begins with a marker, not with an entry: its index is above those of
// all commands that the stores have applied.
func (r *Raft) Bootstrap(servers []raft.Server) error {
	if err := r.bootstrap(servers); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	return nil
}

func (r *Raft) bootstrap(servers []raft.Server) error {
	if err := checkServers(servers, r.o.NodeID); err != nil {
		return err
	}
	r.mu.Lock() // nobody uses the node until there is a new one
	defer r.mu.Unlock()
	if r.stop.Err() != nil {
		return ErrStopped
	}
	has, err := raft.HasExistingState(r.entries, r.store, r.snaps)
	if err != nil {
		return err
	}
	if has {
		return ErrHasState
	}
	if err := r.node.Shutdown().Error(); err != nil {
		return err
	}
	m, err := r.firstMarker(servers)
	if err == nil {
		err = r.snaps.put(m)
	}
	if err == nil {
		r.fsm.advance(m.Index)
	}
	return errors.Join(err, r.start())
}

// firstMarker is above all that the stores hold.
func (r *Raft) firstMarker(servers []raft.Server) (*marker, error) {
	if err := r.snaps.state.sync(r.stop); err != nil {
		return nil, err
	}
	index := entryIndex(max(r.o.Queue.AppliedIndex(), r.o.ActionCache.AppliedIndex())) + 2 // 2 at least: see continueLog
	return &marker{SnapshotMeta: raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, ID: markerID(index, firstTerm), Index: index, Term: firstTerm,
		Configuration: raft.Configuration{Servers: servers}, ConfigurationIndex: index,
	}}, nil
}

// ensureTerm sets the term of the first marker: a crash may have come in between.
func (r *Raft) ensureTerm() error {
	term, err := r.store.GetUint64([]byte(keyTerm))
	if err != nil && err.Error() != "not found" {
		return err
	}
	if r.snaps.index() == 0 || term >= firstTerm {
		return nil
	}
	return r.store.SetUint64([]byte(keyTerm), firstTerm)
}

func checkServers(servers []raft.Server, self string) error {
	ids, voters := map[raft.ServerID]bool{}, 0
	for _, s := range servers {
		if s.ID == "" || s.Address == "" || ids[s.ID] {
			return fmt.Errorf("server %q at %q: each needs an address and an id of its own", s.ID, s.Address)
		}
		ids[s.ID] = true
		if s.Suffrage == raft.Voter {
			voters++
		}
	}
	if voters == 0 || !ids[raft.ServerID(self)] {
		return fmt.Errorf("%d servers: one of them must have a vote, and %s must be one", len(servers), self)
	}
	return nil
}
