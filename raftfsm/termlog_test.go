package raftfsm

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
)

// slowLog answers when it is told to.
type slowLog chan error

func (l slowLog) Propose(context.Context, ...*commandpb.Entry) (Result, error) {
	return Result{}, <-l
}

func TestNothingOfATermIsUnderWayAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := make(slowLog)
		term := NewTermLog(log)
		answered := make(chan error, 1)
		go func() {
			_, err := term.Propose(t.Context())
			answered <- err
		}()
		synctest.Wait()
		ended := make(chan struct{})
		go func() { term.End(); close(ended) }()
		synctest.Wait()
		select {
		case <-ended:
			t.Error("the term ended before its command did")
		default:
		}
		if _, err := term.Propose(t.Context()); !errors.Is(err, ErrNotProposed) || !errors.Is(err, ErrNotLeader) {
			t.Errorf("a command after the end: %v", err)
		}
		log <- ErrLeadershipLost
		<-ended
		if err := <-answered; !errors.Is(err, ErrLeadershipLost) {
			t.Errorf("the command that was under way: %v", err)
		}
	})
}
