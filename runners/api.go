// Package runners executes actions: it lays out input roots, starts commands
// through a Runner, collects outputs, and drives the loop that turns leases into
// results. It knows neither gRPC services nor stores: the two interfaces that it
// needs, Blobs and Leases, are supplied from above. See DESIGN.md.
package runners

import (
	"context"
	"io"
	"os"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Blob is content with its name.
type Blob struct {
	Digest digest.Digest
	Data   []byte
}

// Blobs is the content-addressable storage as a worker needs it.
type Blobs interface {
	// GetMany returns the content of small blobs (each at most MaxSmallBlob), in
	// the order asked. A missing one makes it return a *MissingError that names
	// all that are missing.
	GetMany(ctx context.Context, ds []digest.Digest) ([][]byte, error)
	// Open streams one blob of any size. *MissingError when it is not there.
	Open(ctx context.Context, d digest.Digest) (io.ReadCloser, error)
	// PutMany stores small blobs as outputs of an action.
	PutMany(ctx context.Context, blobs []Blob) error
	// Upload stores one blob of any size as an output of an action. open may be
	// called more than once.
	Upload(ctx context.Context, d digest.Digest, open func() (io.ReadCloser, error)) error
}

// MaxSmallBlob is the largest blob in bytes that GetMany and PutMany take.
const MaxSmallBlob = 1 << 20

// MissingError says which blobs were not there.
type MissingError struct{ Digests []digest.Digest }

func (e *MissingError) Error() string {
	s := "missing blobs:"
	for _, d := range e.Digests {
		s += " " + d.String()
	}
	return s
}

// Lease is an action handed to a worker.
type Lease struct {
	ID       string // of the job
	Attempt  int32
	Instance string
	Action   digest.Digest
	// ActionBytes is the serialised Action when the server sent it along, else nil.
	ActionBytes []byte
	Properties  []Property    // of the action, matched and carried
	Timeout     time.Duration // already bounded by the server's maximum; 0: none
	Queued      time.Time
	// InlineOutputs is unused by local workers, which store stdout and stderr as blobs.
}

// Property is a platform property.
type Property struct{ Name, Value string }

// Event is what a session of a worker is told: exactly one field is set.
type Event struct {
	Assigned  *Lease
	Cancelled string // the id of a lease to kill; its Complete will be refused and that is fine
}

// Completion ends a lease.
type Completion struct {
	LeaseID string
	Attempt int32
	// Status is nil or OK when the action ran, whatever its exit code. INTERNAL and
	// UNAVAILABLE mean that another attempt may help.
	Status *statuspb.Status
	// Result is set when the action ran, and with DEADLINE_EXCEEDED as far as it came.
	Result *repb.ActionResult
}

// Leases is where a worker's actions come from: one open session.
type Leases interface {
	// Next waits for the next event. io.EOF: the session was closed (drain).
	Next(ctx context.Context) (Event, error)
	// Complete returns nil when the completion is durable or was refused as stale:
	// either way the worker may forget it.
	Complete(ctx context.Context, c Completion) error
}

// Task is what a Runner runs: everything is laid out already.
type Task struct {
	LeaseID    string
	Dir        string   // the absolute path of the input root on this machine
	WorkingDir string   // relative to Dir, cleaned, "" for the root
	Args       []string // Args[0] as the command has it
	Env        []string // KEY=value, complete: nothing is inherited
	Stdout     string   // absolute path of the file to write
	Stderr     string
	Timeout    time.Duration // 0: none
	Properties []Property

	// Layers, for a runner that implements Layering and asked for it, is what Dir is
	// to be laid over.
	Layers *Layers
	// Subtrees, for a runner that implements Layering, tells what of the input root
	// the command must not change, at most 100 of them, outer ones before inner ones;
	// none: it may change all. Other runners get files without the right to write.
	Subtrees []Subtree
	Limits   Limits
	// Socket is to be mounted where the command shall find it; nil: there is none, or
	// it is in Dir already.
	Socket *Socket
}

// Exit is how a command ended.
type Exit struct {
	Code      int  // 128 + signal when a signal ended it
	TimedOut  bool // ended because Task.Timeout had passed
	Started   time.Time
	Completed time.Time
	Usage     Usage
	// Root is, for a Task with Layers, the root directory of all that the command saw
	// and left, open for finding its outputs; the receiver closes it. Otherwise nil:
	// Task.Dir holds it.
	Root *os.File
	// Exceeded names the limit for which the command was killed, in words for the
	// client; "" when it was not.
	Exceeded string
}

// Usage is what a command and all its descendants used.
type Usage struct {
	User, System                           time.Duration
	MaxRSS                                 int64 // bytes, of the largest process
	MinorFaults, MajorFaults               int64
	ReadBytes, WrittenBytes                int64
	VoluntarySwitches, InvoluntarySwitches int64
}

// Runner starts a command and returns when it and every process that it started
// are gone. When ctx ends it kills them first and returns ctx's error. A command
// that is not there or not executable has run: its exit code is 127 or 126, and
// Task.Stderr says why. A *Failure says that the action cannot be run like this;
// any other error that another attempt may help.
type Runner interface {
	Name() string // the value of the platform property "runner"
	Run(ctx context.Context, t Task) (Exit, error)
}
