// Package queue keeps jobs, operations and bot sessions in SQLite. It changes
// only by Apply, which is pure of time and randomness; see DESIGN.md.
package queue

import (
	"errors"
	"time"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// What Apply refuses. A refused entry changes nothing.
var (
	ErrNotFound  = errors.New("no such job, operation or session")
	ErrStale     = errors.New("stale: the job is not assigned with this attempt to this session")
	ErrExists    = errors.New("the id is taken")
	ErrCompleted = errors.New("the job is completed")
	ErrActive    = errors.New("the operation is not done")
	ErrMalformed = errors.New("malformed command")
)

// ErrClosed means that the store was closed.
var ErrClosed = errors.New("the queue is closed")

// ErrDiskFull means that a change had no room on the disk. Nothing of it was
// kept, and the store goes on: the same change can be tried again.
var ErrDiskFull = errors.New("the disk of the queue is full")

// ErrState means that what is to be imported is no export, or that of another
// version.
var ErrState = errors.New("not a state of the queue that this version can read")

// ErrInconsistent means that the store broke a rule of its own: a bug, or a
// damaged file.
var ErrInconsistent = errors.New("the queue is inconsistent")

// Stage of a job. The numbers are those of ExecutionStage.Value.
type Stage int32

// The stages that are kept. CACHE_CHECK is never: it takes no time here.
const (
	Queued    Stage = 2
	Executing Stage = 3
	Completed Stage = 4
)

// Property is a platform property.
type Property struct{ Name, Value string }

// Job is one execution that several operations may share. Values are never
// changed once handed out.
type Job struct {
	ID         string
	Instance   string
	Action     digest.Digest
	Command    string // the arguments, joined and shortened
	Priority   int32  // lower first
	Matched    []Property
	Carried    []Property
	Timeout    time.Duration // 0: the server's maximum
	DoNotCache bool

	Stage     Stage
	Attempt   int32    // of the current or last assignment; 0 before the first
	Failures  int32    // attempts that ended in a requeue that counts
	Losses    int32    // attempts that ended because their node went away: they do not count as failures
	History   []string // why each earlier attempt ended, one line each
	SessionID string   // while Executing
	BotID     string   // who executes or executed it
	Front     bool     // requeued: goes before the others of its priority

	QueuedAt    time.Time
	StartedAt   time.Time // of the current or last attempt
	CompletedAt time.Time

	Response     []byte        // serialised ExecuteResponse when Completed, unless ResponseBlob is set
	ResponseBlob digest.Digest // zero unless the response is a blob in the CAS
}

// Operation is one client's handle on a job. Its name at the wire is
// {instance}/{id}.
type Operation struct {
	ID              string
	JobID           string
	Instance        string
	RequestMetadata []byte // serialised RequestMetadata
	Client          string
	CreatedAt       time.Time
	Cancelled       bool
	Response        []byte // of a cancelled operation whose job goes on; otherwise nil: see the job's
}

// Session is a bot's session.
type Session struct {
	ID         string
	Instance   string
	BotID      string
	Properties []Property
	Capacity   int32
	Local      bool
	NodeID     string
	Draining   bool // it keeps its jobs and gets no more
	OpenedAt   time.Time
}

// EventKind says what an Event tells.
type EventKind int

// The kinds of events.
const (
	JobQueued          EventKind = iota + 1 // Job: new (Operation is set), or back in the queue
	JobAssigned                             // Job: a new job assigned at once has JobQueued before it
	JobCompleted                            // Job
	JobPriority                             // Job: its priority was raised
	OperationAttached                       // Operation, Job
	OperationCancelled                      // Operation, Job: the job goes on, or JobCompleted follows
	OperationDeleted                        // Operation
	SessionOpened                           // Session
	SessionClosed                           // Session; what becomes of its jobs follows
	JobMoved                                // Job: with its attempt, to the session that follows its own
	SessionUpdated                          // Session
)

// Event is a change that was committed. Apply returns them in order.
type Event struct {
	Kind      EventKind
	Job       *Job
	Operation *Operation
	Session   *Session
}

// OperationJob is an operation with the job that it stands for.
type OperationJob struct {
	Operation *Operation
	Job       *Job
}

// ActionCacheWrite is what an accepted entry asks of the action cache.
type ActionCacheWrite struct {
	Instance            string
	Action              digest.Digest
	Result              []byte // serialised ActionResult, unless ResultBlob is set
	ResultBlob          digest.Digest
	Evict               bool
	IfWrittenAtOrBefore uint64 // for Evict: only an entry whose index is not above it
	// Index is that of the command, which the entry is to be tagged with: not that
	// of its group, which is another on each node. Set by raftfsm.
	Index uint64
}
