package sched

// Keys of log records.
const (
	keyBot     = "bot"
	keySession = "session"
	keyJob     = "job"
	keyOp      = "op"
	keyError   = "error"
)
