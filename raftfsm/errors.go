package raftfsm

import "errors"

// What callers tell apart.
var (
	// ErrNotProposed means that the command was not and will not be applied.
	ErrNotProposed = errors.New("not proposed")
	// ErrStopped comes with ErrNotProposed when the proposer was closed.
	ErrStopped = errors.New("the proposer has stopped")
	// ErrNotLeader means that this node does not lead, or is handing leadership
	// over. From Propose it comes with ErrNotProposed: ask the leader.
	ErrNotLeader = errors.New("this node is not the leader")
	// ErrLeadershipLost means that this node lost its leadership after it had
	// begun to commit the command: the next leader may commit it or drop it.
	ErrLeadershipLost = errors.New("leadership was lost before the command was committed")
	// ErrUnavailable means that the log could not be asked: another try may meet a
	// cluster with a leader.
	ErrUnavailable = errors.New("the command log is not available now")
	// ErrUnknownCommand means that a newer version wrote the command. The node
	// must stop: to skip it would part it from the others for ever.
	ErrUnknownCommand = errors.New("unknown command: a newer bgrid-node wrote it, and this one must not skip it")
	// ErrCorruptCommand means that the bytes are no command. The node must stop.
	ErrCorruptCommand = errors.New("corrupt command")
	// ErrFatal comes with the reason once a machine has stopped for good.
	ErrFatal = errors.New("the state machine has stopped")
)
