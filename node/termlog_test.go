package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
)

// slowLog answers when it is told to.
type slowLog chan error

func (l slowLog) Propose(context.Context, ...*commandpb.Entry) (raftfsm.Result, error) {
	return raftfsm.Result{}, <-l
}

func TestNothingOfATermIsUnderWayAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := make(slowLog)
		term := &termLog{log: log}
		answered := make(chan error, 1)
		go func() {
			_, err := term.Propose(t.Context())
			answered <- err
		}()
		synctest.Wait()
		ended := make(chan struct{})
		go func() { term.end(); close(ended) }()
		synctest.Wait()
		select {
		case <-ended:
			t.Error("the term ended before its command did")
		default:
		}
		if _, err := term.Propose(t.Context()); !errors.Is(err, raftfsm.ErrNotProposed) || !errors.Is(err, raftfsm.ErrNotLeader) {
			t.Errorf("a command after the end: %v", err)
		}
		log <- raftfsm.ErrLeadershipLost
		<-ended
		if err := <-answered; !errors.Is(err, raftfsm.ErrLeadershipLost) {
			t.Errorf("the command that was under way: %v", err)
		}
	})
}
