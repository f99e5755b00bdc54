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
	// WaitReason says why it is still queued; empty otherwise.
	WaitReason string
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
	Local      bool // dies with this process
}

// Lease is a job handed to a bot.
type Lease struct {
	Job     *queue.Job
	Attempt int32
}

// Event is what a bot's session is told: one field is set.
type Event struct {
	Assigned  *Lease
	Cancelled string // job id
}

// Completion is how a bot ends a lease.
type Completion struct {
	JobID   string
	Attempt int32
	Status  *statuspb.Status
	Result  *repb.ActionResult
}
