package raftfsm

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// continueLog makes a log go on from the last marker: the entry at the marker is
// in it, with its term. Raft compares the entries that follow with that one, and
// refuses them for ever when it is not there or another one, while something is
// behind it that was never committed.
//
// Below the marker of another member's state nothing is of use, and the entry that
// is put there stands for one that is not known. It is never sent: whoever asks for
// it asks for the one below, too, and gets the state instead. So no marker is at
// index 1, below which there is nothing to ask for.
func continueLog(l raft.LogStore, m *marker) error {
	if m == nil {
		return nil
	}
	first, err := l.FirstIndex()
	if err != nil {
		return err
	}
	last, err := l.LastIndex()
	if err != nil {
		return err
	}
	if first > m.Index+1 {
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
	if last > 0 && first <= m.Index {
		if err := l.DeleteRange(first, min(last, m.Index)); err != nil {
			return err
		}
	}
	return l.StoreLog(&raft.Log{Index: m.Index, Term: m.Term, Type: raft.LogNoop})
}
