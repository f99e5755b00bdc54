package raftfsm

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// TestAMemberThatDivergedRightAfterAStateCatchesUp gives a member the state of
// another and, as the first entry behind it, one that was never committed: it was
// elected then and cut off at once. It has no entry that the leader has too, but the
// one at the marker.
func TestAMemberThatDivergedRightAfterAStateCatchesUp(t *testing.T) {
	var came atomic.Int32
	ms := formed(t, 3, func(o *RaftOptions) { o.Replaced = func(uint64) { came.Add(1) } })
	leader := leaderOf(t, ms)
	for i := range 20 {
		leader.do(Submit(submission(fmt.Sprint("before-", i))))
	}
	caughtUp(t, ms)
	m := others(ms, leader)[0]
	term := leader.raft.Term()
	m.stop()
	if err := diverge(m, term); err != nil {
		t.Fatal(err)
	}
	heir := others(ms, leader)[0]
	if err := leader.raft.raft().LeadershipTransferToServer(raft.ServerID(heir.id), raft.ServerAddress(heir.id)).Error(); err != nil {
		t.Fatal(err)
	}
	leader = leaderOf(t, others(ms, m))
	for i := range 20 {
		leader.do(Submit(submission(fmt.Sprint("after-", i))))
	}
	before := came.Load()
	m.start()
	deadline := time.Now().Add(20 * time.Second)
	for m.q.AppliedIndex() != leader.q.AppliedIndex() && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if m.q.AppliedIndex() != leader.q.AppliedIndex() {
		t.Fatalf("it is at %d, the leader at %d; %d states came in", m.q.AppliedIndex(), leader.q.AppliedIndex(), came.Load()-before)
	}
	same(t, ms)
}

// diverge leaves a stopped member with a marker, and one entry of its own behind
// it, of the term given.
func diverge(m *member, term uint64) error {
	dir := filepath.Join(m.dir, "raft")
	s, err := raftboltdb.NewBoltStore(filepath.Join(dir, logFile))
	if err != nil {
		return err
	}
	first, err1 := s.FirstIndex()
	index, err2 := s.LastIndex()
	old, err3 := readMarker(filepath.Join(dir, markerFile))
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	now := *old
	now.ID, now.Index, now.Term = markerID(index, term), index, term
	return errors.Join(
		s.DeleteRange(first, index),
		s.StoreLog(&raft.Log{Index: index + 1, Term: term, Type: raft.LogNoop}),
		writeMarker(filepath.Join(dir, markerFile), &now),
		s.Close(),
	)
}
