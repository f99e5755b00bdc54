package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/bgrid-node/bgrid-node/node/cluster/peerpb"
	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// sentinels are the errors that callers tell apart, with the codes by which they
// cross from the leader to a follower. The codes never change.
func sentinels() []sentinel {
	return []sentinel{
		{peerpb.Refused_NOT_FOUND, queue.ErrNotFound},
		{peerpb.Refused_STALE, queue.ErrStale},
		{peerpb.Refused_EXISTS, queue.ErrExists},
		{peerpb.Refused_COMPLETED, queue.ErrCompleted},
		{peerpb.Refused_ACTIVE, queue.ErrActive},
		{peerpb.Refused_MALFORMED, queue.ErrMalformed},
		{peerpb.Refused_DISK_FULL, queue.ErrDiskFull},
		{peerpb.Refused_CLOSED, queue.ErrClosed},
		{peerpb.Refused_UNKNOWN_COMMAND, raftfsm.ErrUnknownCommand},
		{peerpb.Refused_STOPPED, raftfsm.ErrStopped},
		{peerpb.Refused_LEADERSHIP_LOST, raftfsm.ErrLeadershipLost},
	}
}

type sentinel struct {
	code peerpb.Refused_Code
	err  error
}

// refusedOf encodes an error; nil for nil.
func refusedOf(err error) *peerpb.Refused {
	if err == nil {
		return &peerpb.Refused{}
	}
	for _, s := range sentinels() {
		if errors.Is(err, s.err) {
			return &peerpb.Refused{Code: s.code, Text: err.Error()}
		}
	}
	return &peerpb.Refused{Code: peerpb.Refused_OTHER, Text: err.Error()}
}

// errorFrom decodes what refusedOf made: errors.Is finds the same sentinel.
func errorFrom(r *peerpb.Refused) error {
	if r.GetCode() == peerpb.Refused_NONE {
		return nil
	}
	for _, s := range sentinels() {
		if s.code == r.GetCode() {
			return &remoteError{text: r.GetText(), is: s.err}
		}
	}
	return errors.New(r.GetText())
}

// remoteError is an error of another node, in its words.
type remoteError struct {
	text string
	is   error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.is }

// proposeReply encodes what a proposal on the leader came to.
func proposeReply(result raftfsm.Result, err error) *peerpb.ProposeReply {
	if err != nil {
		reply := &peerpb.ProposeReply{Failure: refusedOf(err), NotProposed: errors.Is(err, raftfsm.ErrNotProposed)}
		reply.NotLeader = reply.NotProposed && errors.Is(err, raftfsm.ErrNotLeader)
		return reply
	}
	reply := &peerpb.ProposeReply{Index: result.Index, TimeNanos: result.Time.UnixNano(), Errors: make([]*peerpb.Refused, len(result.Errors))}
	for i, e := range result.Errors {
		reply.Errors[i] = refusedOf(e)
	}
	return reply
}

// resultOf decodes what the leader answered to a proposal of n entries.
func resultOf(reply *peerpb.ProposeReply, n int) (raftfsm.Result, error) {
	if err := errorFrom(reply.Failure); err != nil {
		if reply.NotProposed {
			return raftfsm.Result{}, fmt.Errorf("propose: %w: %w", raftfsm.ErrNotProposed, err)
		}
		return raftfsm.Result{}, fmt.Errorf("propose: %w", err)
	}
	if len(reply.Errors) != n {
		return raftfsm.Result{}, fmt.Errorf("propose: the leader answered %d of %d entries", len(reply.Errors), n)
	}
	result := raftfsm.Result{Index: reply.Index, Time: time.Unix(0, reply.TimeNanos), Errors: make([]error, n)}
	for i, e := range reply.Errors {
		result.Errors[i] = errorFrom(e)
	}
	return result, nil
}
