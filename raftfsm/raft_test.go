package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// inCluster runs a test with members that have a leader, in a bubble: its time
// stands still while something runs, so a busy machine loses no leader.
func inCluster(t *testing.T, n int, adapt func(*RaftOptions), test func(t *testing.T, ms []*member)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, formed(t, n, adapt)) })
}

// shortLog makes members cut their log off soon.
func shortLog(o *RaftOptions) { o.SnapshotEvery, o.TrailingLogs = 8, 4 }

func TestOneLogGivesAllMembersTheSameState(t *testing.T) {
	inCluster(t, 3, nil, func(t *testing.T, ms []*member) {
		leader := leaderOf(t, ms)
		var wg sync.WaitGroup
		var mu sync.Mutex
		var indexes []uint64
		for seed := range uint64(8) {
			wg.Go(func() {
				for _, c := range history(seed, 25) {
					r, err := leader.raft.Propose(t.Context(), c.Entries...)
					if err != nil || len(r.Errors) != len(c.Entries) || r.Time.IsZero() {
						t.Error(r, err)
					}
					mu.Lock()
					indexes = append(indexes, r.Index)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		same(t, ms)
		if slices.Sort(indexes); len(slices.Compact(indexes)) != 200 {
			t.Errorf("%d indexes for 200 commands", len(indexes))
		}
		for _, m := range others(ms, leader) {
			if !slices.Equal(m.seen.indexes(), leader.seen.indexes()) || !slices.Equal(m.seen.kinds(), leader.seen.kinds()) {
				t.Errorf("%s observed %d groups, the leader %d", m.id, len(m.seen.indexes()), len(leader.seen.indexes()))
			}
		}
	})
}

func TestOnlyTheLeaderTakesProposals(t *testing.T) {
	inCluster(t, 3, nil, func(t *testing.T, ms []*member) {
		leader := leaderOf(t, ms)
		for _, m := range others(ms, leader) {
			_, err := m.raft.Propose(t.Context(), Submit(submission("x")))
			if !errors.Is(err, ErrNotProposed) || !errors.Is(err, ErrNotLeader) {
				t.Errorf("a follower answered %v", err)
			}
			for what, err := range map[string]error{
				"barrier": m.raft.Barrier(t.Context()), "remove": m.raft.Remove(t.Context(), leader.id),
				"transfer": m.raft.Transfer(t.Context()), "add": m.raft.AddVoter(t.Context(), "n9", "n9"),
			} {
				if !errors.Is(err, ErrNotLeader) {
					t.Errorf("%s on a follower: %v", what, err)
				}
			}
			if _, err := m.raft.ReadIndex(t.Context()); !errors.Is(err, ErrNotLeader) {
				t.Errorf("read index on a follower: %v", err)
			}
			if m.raft.Leader() != leader.id {
				t.Errorf("%s takes %q for the leader", m.id, m.raft.Leader())
			}
		}
		if err := leader.raft.Bootstrap(servers(ms)); !errors.Is(err, ErrHasState) {
			t.Errorf("bootstrapped twice: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := leader.raft.Propose(ctx, Submit(submission("x"))); !errors.Is(err, ErrNotProposed) {
			t.Errorf("with a context that has ended: %v", err)
		}
	})
}

// TestRaftsErrorsSayWhatMayHaveHappened: that it did not is only said of what never
// got an index in the log.
func TestRaftsErrorsSayWhatMayHaveHappened(t *testing.T) {
	for _, c := range []struct {
		err      error
		appended bool
		want     []error
	}{
		{raft.ErrNotLeader, false, []error{ErrNotProposed, ErrNotLeader}},
		{raft.ErrLeadershipTransferInProgress, false, []error{ErrNotProposed, ErrNotLeader}},
		{raft.ErrRaftShutdown, false, []error{ErrNotProposed, ErrStopped}},
		{raft.ErrLeadershipLost, true, []error{ErrLeadershipLost}},
		{raft.ErrRaftShutdown, true, []error{ErrStopped}},
		{errors.New("disk"), true, nil},
	} {
		err := proposalError(c.err, c.appended)
		for _, known := range []error{ErrNotProposed, ErrNotLeader, ErrStopped, ErrLeadershipLost} {
			if errors.Is(err, known) != slices.Contains(c.want, known) {
				t.Errorf("%v, appended %t: %v is %v: %t", c.err, c.appended, err, known, errors.Is(err, known))
			}
		}
	}
}

func TestANewLeaderHasAllThatWasAcknowledged(t *testing.T) {
	inCluster(t, 3, nil, func(t *testing.T, ms []*member) {
		for i := range 3 {
			leader := leaderOf(t, ms)
			leader.do(Submit(submission(fmt.Sprint(i))))
			leader.stop()
			leader = elected(ms) // it may not know yet that all of it is committed
			index, err := leader.raft.ReadIndex(t.Context())
			if err = errors.Join(err, leader.raft.WaitApplied(t.Context(), index)); err != nil {
				t.Fatal(err)
			}
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
	})
}

func TestALeaderThatIsCutOffDoesNotKnowWhatBecomesOfItsProposals(t *testing.T) {
	inCluster(t, 3, nil, func(t *testing.T, ms []*member) {
		old := leaderOf(t, ms)
		old.cut()
		begun := time.Now()
		_, err := old.raft.Propose(t.Context(), Submit(submission("lost")))
		if !errors.Is(err, ErrLeadershipLost) || errors.Is(err, ErrNotProposed) {
			t.Errorf("cut off while it proposed: %v", err)
		}
		if took := time.Since(begun); took > DefaultElectionTimeout {
			t.Errorf("it led for another %s", took)
		}
		if _, err := old.raft.Propose(t.Context(), Submit(submission("no"))); !errors.Is(err, ErrNotProposed) {
			t.Errorf("afterwards: %v", err)
		}
		leaderOf(t, others(ms, old)).do(Submit(submission("kept")))
		old.connect()
		same(t, ms)
		if isThere(t, old.q, "lost") || !isThere(t, old.q, "kept") {
			t.Error("it has what was never committed, or not what was")
		}
	})
}

func TestLeadershipIsHandedOver(t *testing.T) {
	inCluster(t, 3, nil, func(t *testing.T, ms []*member) {
		old := leaderOf(t, ms)
		state, changed := old.raft.Leadership()
		if !state.IsLeader || state.Leader != old.id || state.Term != old.raft.Term() {
			t.Errorf("the leader's state: %+v", state)
		}
		oldEntry := old.raft.raft().CommitIndex()
		if err := old.raft.Transfer(t.Context()); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
		default:
			t.Error("nobody was told")
		}
		leader := leaderOf(t, ms)
		if leader == old {
			t.Error("the same leads")
		}
		node := leader.raft.raft()
		if leader.raft.canVerify(node, oldEntry) || !leader.raft.canVerify(node, node.CommitIndex()) {
			t.Error("followers can tell that an entry is the last only when it is of the leader's own term")
		}
		synctest.Wait()
		for _, m := range ms {
			want := LeaderState{Term: leader.raft.Term(), Leader: leader.id, IsLeader: m == leader}
			if have, _ := m.raft.Leadership(); have != want {
				t.Errorf("%s: %+v, want %+v", m.id, have, want)
			}
		}
	})
}

// TestAFollowerReadsWhatWasAcknowledged is for entries without commands too, which
// Raft does not show to its state machine.
func TestAFollowerReadsWhatWasAcknowledged(t *testing.T) {
	inCluster(t, 3, nil, func(t *testing.T, ms []*member) {
		for i := range 20 {
			leader := leaderOf(t, ms)
			leader.do(Submit(submission(fmt.Sprint(i))))
			if i%3 == 0 {
				if err := errors.Join(leader.raft.Barrier(t.Context()), leader.raft.Transfer(t.Context())); err != nil {
					t.Fatal(err)
				}
				leader = leaderOf(t, ms)
			}
			index, err := leader.raft.ReadIndex(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range ms {
				if err := m.raft.WaitApplied(t.Context(), index); err != nil {
					t.Fatal(err)
				}
				if !isThere(t, m.q, fmt.Sprint(i)) {
					t.Errorf("%s does not have %d, which was acknowledged", m.id, i)
				}
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := ms[0].raft.WaitApplied(ctx, lastIndex(1e6)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an index of the future: %v", err)
		}
	})
}

// TestALeaderWithoutAQuorumAnswersNoReads: not even when it has a member without a
// vote, whose answers Raft counts.
func TestALeaderWithoutAQuorumAnswersNoReads(t *testing.T) {
	inCluster(t, 3, nil, func(t *testing.T, ms []*member) {
		leader := leaderOf(t, ms)
		extra := &member{t: t, id: "extra", dir: t.TempDir(), net: leader.net, cache: &fakeCache{}, seen: &recorder{}}
		leader.net.members = append(leader.net.members, extra)
		extra.start()
		defer extra.stop()
		if err := leader.raft.AddNonvoter(t.Context(), extra.id, extra.id); err != nil {
			t.Fatal(err)
		}
		same(t, leader.net.members)
		for _, m := range others(ms, leader) {
			m.cut()
		}
		if _, err := leader.raft.ReadIndex(t.Context()); !errors.Is(err, ErrNotLeader) {
			t.Errorf("answered with %v", err)
		}
	})
}

// TestAFailingStoreIsTriedAgainAndNothingIsSkipped: first on the leader, which lets
// another one lead, then on a follower.
func TestAFailingStoreIsTriedAgainAndNothingIsSkipped(t *testing.T) {
	inCluster(t, 3, nil, func(t *testing.T, ms []*member) {
		sick := leaderOf(t, ms)
		sick.cache.setFail(errors.New("no space left"))
		begun := time.Now()
		_, err := sick.raft.Propose(t.Context(), actionPut("a"))
		if took := time.Since(begun); took > handOverAfter+lastRetry {
			t.Errorf("the answer took %s", took)
		}
		if !errors.Is(err, ErrLeadershipLost) || errors.Is(err, ErrNotProposed) {
			t.Errorf("it was committed and not applied, and was answered %v", err)
		}
		if sick.raft.Status().Trouble == nil {
			t.Error("the status does not say why nothing is applied")
		}
		leader := leaderOf(t, others(ms, sick))
		for i := range 10 {
			leader.do(actionPut(fmt.Sprint(i)))
			leader.do(Submit(submission(fmt.Sprint(i))))
		}
		if sick.cache.AppliedIndex() != 0 || isThere(t, sick.q, "0") {
			t.Error("it applied what comes after what it could not apply")
		}
		sick.cache.setFail(nil)
		same(t, ms)
		if err := sick.raft.Status().Trouble; err != nil {
			t.Errorf("still in trouble: %v", err)
		}
	})
}

func TestWhatANewerVersionWroteStopsEveryMember(t *testing.T) {
	inCluster(t, 3, nil, func(t *testing.T, ms []*member) {
		leader := leaderOf(t, ms)
		c := &commandpb.Command{Version: Version + 1, Entries: []*commandpb.Entry{Submit(submission("new"))}}
		data, err := encodeGroup([]*commandpb.Command{c})
		if err != nil {
			t.Fatal(err)
		}
		leader.raft.raft().Apply(data, 0)
		for _, m := range ms {
			<-m.raft.Failed()
			if err := m.raft.Err(); !errors.Is(err, ErrFatal) || !errors.Is(err, ErrUnknownCommand) {
				t.Errorf("%s stopped with %v", m.id, err)
			}
		}
		if _, err := leader.raft.Propose(t.Context(), Submit(submission("after"))); !errors.Is(err, ErrFatal) {
			t.Errorf("afterwards: %v", err)
		}
		if err := leader.raft.Snapshot(t.Context()); err == nil {
			t.Error("a marker was written above what was not applied")
		}
		for _, m := range ms {
			if isThere(t, m.q, "after") {
				t.Errorf("%s went on", m.id)
			}
		}
	})
}

func TestAMemberComesAndGoes(t *testing.T) {
	inCluster(t, 3, shortLog, func(t *testing.T, ms []*member) {
		leader := leaderOf(t, ms)
		gone := others(ms, leader)[0]
		for i := range 20 {
			leader.do(Submit(submission(fmt.Sprint(i))))
		}
		if err := leader.raft.Remove(t.Context(), gone.id); err != nil {
			t.Fatal(err)
		}
		gone.stop()
		gone.wipe()
		gone.start()
		if has, err := gone.raft.HasState(); has || err != nil {
			t.Errorf("an empty disk has state: %t, %v", has, err)
		}
		if err := leader.raft.AddNonvoter(t.Context(), gone.id, gone.id); err != nil {
			t.Fatal(err)
		}
		same(t, ms)
		if err := leader.raft.AddVoter(t.Context(), gone.id, gone.id); err != nil {
			t.Fatal(err)
		}
		s := leader.raft.Status()
		if len(s.Servers) != 3 || s.State != "Leader" || s.LastContact != 0 || s.LogBytes == 0 || s.Applied == 0 {
			t.Errorf("status: %+v", s)
		}
		if has, err := gone.raft.HasState(); !has || err != nil {
			t.Errorf("a member has no state: %t, %v", has, err)
		}
		leader.stop()
		leaderOf(t, ms).do(OpenSession(&queuepb.OpenSession{SessionId: "s", BotId: "b"}))
		same(t, ms)
	})
}

// TestCloseDoesNotHang wherever a member is.
func TestCloseDoesNotHang(t *testing.T) {
	for name, bring := range map[string]func(t *testing.T, ms []*member) *member{
		"new": func(*testing.T, []*member) *member { return nil },
		"in an election that it cannot win": func(t *testing.T, ms []*member) *member {
			leader := leaderOf(t, ms)
			alone := others(ms, leader)[0]
			alone.cut()
			time.Sleep(3 * DefaultElectionTimeout)
			if s := alone.raft.Status().State; s != "Candidate" && s != "Follower" {
				t.Errorf("it is %s", s)
			}
			return alone
		},
		"while it tries a store again": func(t *testing.T, ms []*member) *member {
			leader := leaderOf(t, ms)
			sick := others(ms, leader)[0]
			sick.cache.setFail(errors.New("no space left"))
			for i := range 200 { // more than fits between Raft and its state machine
				leader.do(actionPut(fmt.Sprint(i)))
			}
			return sick
		},
		"with proposals that cannot be committed": func(t *testing.T, ms []*member) *member {
			leader := leaderOf(t, ms)
			for _, m := range others(ms, leader) {
				m.cut()
			}
			for i := range 300 {
				go func() {
					if _, err := leader.raft.Propose(t.Context(), Submit(submission(fmt.Sprint(i)))); err == nil {
						t.Error("committed without a quorum")
					}
				}()
			}
			synctest.Wait()
			return leader
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var m *member
				if name == "new" {
					m = newCluster(t, 1, nil)[0]
				} else {
					m = bring(t, formed(t, 3, nil))
				}
				begun := time.Now()
				m.stop()
				if took := time.Since(begun); took > 4*time.Second {
					t.Errorf("it took %s", took)
				}
				if _, err := m.raft.Propose(t.Context(), Submit(submission("x"))); !errors.Is(err, ErrNotProposed) {
					t.Errorf("closed, it answers %v", err)
				}
				if err := m.raft.Barrier(t.Context()); err == nil {
					t.Error("closed, it does barriers")
				}
				if _, err := m.raft.ReadIndex(t.Context()); err == nil {
					t.Error("closed, it answers reads")
				}
				if err := m.raft.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
