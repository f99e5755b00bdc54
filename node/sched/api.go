// Package sched decides which worker gets which job, and owns time: expiry,
// retries, fairness. It keeps the unfinished jobs in memory as the mirror of
// store/queue and changes them only by proposing commands. See DESIGN.md.
package sched

import (
	"errors"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"

	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// What callers tell apart.
var (
	ErrNotFound   = errors.New("no such operation")
	ErrNotDone    = errors.New("the operation is not done")
	ErrUnknownBot = errors.New("no such bot session")
	ErrDraining   = errors.New("the node is draining: it takes no new work")
	ErrStopped    = errors.New("the node is stopping") // of a wait that Stop ended
)

// Submission is an action to execute.
type Submission struct {
	Instance        string
	Action          digest.Digest
	Command         string // the arguments, joined and shortened, for people
	Priority        int32
	Matched         []queue.Property // sorted; the worker must offer all of them
	Carried         []queue.Property // sorted; handed on, not matched
	Timeout         time.Duration    // 0: the maximum
	DoNotCache      bool             // then also never merged with another
	RequestMetadata *repb.RequestMetadata
	Client          string
	// OperationID is that of the operation, a UUID; "" lets the scheduler choose. A
	// submission with the id of an operation that exists is a repetition, whose
	// answer was lost: it changes nothing, and is answered with that operation.
	OperationID string
}

// State is an operation as clients see it, at one moment. Never changed once
// handed out.
type State struct {
	Name      string // {instance}/{uuid}
	Operation *queue.Operation
	Job       *queue.Job
	Stage     queue.Stage
	Done      bool
	Worker    string // bot id, when executing or completed
	// WaitReason says why it is still queued, or, when executing, that its worker
	// has not come back since the node was started; empty otherwise.
	WaitReason string
	// StdoutStream and StderrStream are resource names by which the output can be
	// read while it is executing; empty when that is not possible. See
	// Session.Streams.
	StdoutStream, StderrStream string
	// Response is set when Done. Its ActionResult may carry more or less inlined
	// content than a client asked for.
	Response *repb.ExecuteResponse
}

// Bot describes a worker that opens a session.
type Bot struct {
	Instance   string
	BotID      string
	Properties []queue.Property // a key may repeat
	Capacity   int
	Has        Resources // what its leases share; what is 0 is not known, and bounds nothing
	Local      bool      // dies with this process
	// Leases are the jobs that the bot says it has. Those that an older session of
	// the bot had go on in the new one; the bot need not be told of them.
	Leases []string
	// Refuses is as in Session.Refuse, from the beginning on.
	Refuses string
}

// Lease is a job handed to a bot.
type Lease struct {
	Job     *queue.Job
	Attempt int32
	Timeout time.Duration // the job's, or Options.MaxTimeout where it has none; 0: none
}

// Event is what a bot's session is told: one field is set.
type Event struct {
	Assigned  *Lease
	Cancelled string // job id
}

// Completion is how a bot ends a lease. Session.Complete does not change what it
// points to.
type Completion struct {
	JobID   string
	Attempt int32
	// Status is nil or OK when the action ran, whatever its exit code. INTERNAL and
	// UNAVAILABLE ask for another attempt; every other code is final.
	Status *statuspb.Status
	// Result must be set when Status is OK; with DEADLINE_EXCEEDED it is what there
	// was of it.
	Result *repb.ActionResult
}
