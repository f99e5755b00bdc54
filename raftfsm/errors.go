package raftfsm

import "errors"

// What callers tell apart.
var (
	// ErrNotProposed means that the command was not and will not be applied.
	ErrNotProposed = errors.New("not proposed")
	// ErrStopped comes with ErrNotProposed when the proposer was closed.
	ErrStopped = errors.New("the proposer has stopped")
	// ErrUnknownCommand means that a newer version wrote the command. The node
	// must stop: to skip it would part it from the others for ever.
	ErrUnknownCommand = errors.New("unknown command: a newer bgrid-node wrote it, and this one must not skip it")
	// ErrCorruptCommand means that the bytes are no command. The node must stop.
	ErrCorruptCommand = errors.New("corrupt command")
	// ErrFatal comes with the reason once a machine has stopped for good.
	ErrFatal = errors.New("the state machine has stopped")
)
