package raftfsm

import (
	"errors"
	"fmt"
	"sync"
	"testing"
)

func TestOneLogGivesAllMembersTheSameState(t *testing.T) {
	ms := formed(t, 3, nil)
	leader := leaderOf(t, ms)
	var wg sync.WaitGroup
	for seed := range uint64(8) {
		wg.Go(func() {
			for _, c := range history(seed, 25) {
				if _, err := leader.raft.Propose(t.Context(), c.Entries...); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	same(t, ms)
	for _, m := range others(ms, leader) {
		_, err := m.raft.Propose(t.Context(), Submit(submission("x")))
		if !errors.Is(err, ErrNotProposed) || !errors.Is(err, ErrNotLeader) {
			t.Errorf("a follower answered %v", err)
		}
		if _, err := m.raft.ReadIndex(t.Context()); !errors.Is(err, ErrNotLeader) {
			t.Errorf("a follower's read index: %v", err)
		}
	}
}

func TestANewLeaderHasAllThatWasAcknowledged(t *testing.T) {
	ms := formed(t, 3, nil)
	for i := range 3 {
		leader := leaderOf(t, ms)
		leader.do(Submit(submission(fmt.Sprint(i))))
		leader.stop()
		leader = leaderOf(t, others(ms, nil))
		for j := range i + 1 {
			if !isThere(t, leader.q, fmt.Sprint(j)) {
				t.Errorf("%d is lost", j)
			}
		}
		for _, m := range ms {
			if !m.up {
				m.start()
			}
		}
	}
	same(t, ms)
}
