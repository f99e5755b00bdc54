package raftfsm

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// continueLog makes a log go on from a marker whose state came from another
// member. What is below it is of no use, and may be what was never committed; then
// Raft would refuse all that follows, for the entry at the marker is not the one
// that the leader has. So an entry of the marker's term takes its place.
func continueLog(l raft.LogStore, m *marker) error {
	if m == nil {
		return nil
	}
	first, err := l.FirstIndex()
	if err != nil {
		return err
	}
	last, err := l.LastIndex()
	switch {
	case err != nil || last == 0 || first == m.Index+1:
		return err
	case first > m.Index+1:
		return fmt.Errorf("the log begins at entry %d, and the last marker is at %d: what was between is lost", first, m.Index)
	}
	var at raft.Log
	err = l.GetLog(m.Index, &at)
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) {
		return err
	}
	if err == nil && at.Term == m.Term {
		return nil
	}
	if err := l.DeleteRange(first, min(last, m.Index)); err != nil {
		return err
	}
	return l.StoreLog(&raft.Log{Index: m.Index, Term: m.Term, Type: raft.LogNoop})
}
