package admin

import (
	"context"
	"errors"
	"time"
)

// ErrNotFound is what Source.Operation returns for a name that it does not know.
var ErrNotFound = errors.New("no such operation")

// Source is the node as the pages and metrics see it. Its methods are called
// often and must be quick.
type Source interface {
	// Status returns the present state. Lists are cut to what a page shows; the
	// counts beside them are not.
	Status(ctx context.Context) (*Status, error)
	// Operation returns one operation by its name, or ErrNotFound.
	Operation(ctx context.Context, name string) (*Operation, error)
	// Ready returns nil when the node takes work, otherwise why it does not.
	Ready() error
	// DrainWorker takes a worker out of service, or back into it, or returns
	// ErrNoWorker.
	DrainWorker(botID string, drain bool) error
	// Drain takes the node itself out of service, and returns when what runs here has
	// ended.
	Drain(ctx context.Context) error
}

// Status is the state of a node at one moment.
type Status struct {
	Version, Revision string
	NodeID            string
	Instance          string
	Listen            string
	Started           time.Time
	Draining          bool
	Trouble           string   // why what the scheduler knows is left out; "": it is here
	Leader            string   // the node that it comes from; "": this one
	Members           []Member // of the cluster; nil: the node stands alone
	UncleanShutdowns  int

	Workers []Worker
	// Platforms has one element for each distinct set of properties that workers
	// offer or queued actions ask for.
	Platforms   []Platform
	Queue       []Waiting // in the order in which they would run
	QueueLength int
	Recent      []Recent // finished, the latest first

	CAS         Store
	ActionCache Store
	Clients     []Client
}

// Member is one node of the cluster, as this one sees it.
type Member struct {
	ID        string
	Address   string // of its peer port
	Self      bool
	Leads     bool
	Voter     bool // false: it has not caught up yet
	Reachable bool
}

// Worker is one bot session.
type Worker struct {
	BotID      string
	Properties []string // key=value
	Slots      int
	Local      bool
	Since      time.Time
	Running    []Running
	Drained    bool   // by an operator
	Away       bool   // not heard of since the node started
	Refuses    string // why it takes no work by itself
}

// Running is an action in a worker's slot.
type Running struct {
	Operation string // a name of the operation, "" when unknown
	Command   string
	Attempt   int
	Since     time.Time
}

// Platform is how one set of properties is loaded.
type Platform struct {
	Properties string // key=value, separated by commas
	Slots      int    // of the workers that have exactly this set
	Busy       int
	Queued     int // actions that ask for exactly this set
}

// Waiting is a queued action.
type Waiting struct {
	Operation string
	Command   string
	Platform  string
	Priority  int
	Since     time.Time
	Reason    string
}

// Recent is a finished action.
type Recent struct {
	Operation string
	Command   string
	Outcome   string // see Outcome
	Worker    string
	Completed time.Time
	Took      time.Duration
}

// Store is the use of one store. Values below 0 are unknown.
type Store struct {
	Items    int64
	Bytes    int64
	MaxBytes int64
}

// Client is the lines that connect one client.
type Client struct{ Name, Lines string }

// Operation is what the page of one operation shows.
type Operation struct {
	Name      string
	Stage     string // QUEUED, EXECUTING or COMPLETED
	Outcome   string // when completed
	Reason    string // why it waits, when queued
	Command   string
	Action    string // digest
	Platform  []string
	Priority  int
	Attempt   int
	History   []string // why earlier attempts ended
	Worker    string
	Invoker   string // tool and invocation, from the request metadata
	Queued    time.Time
	Started   time.Time
	Completed time.Time
	Message   string // of the response or its status
	Stdout    string // as far as it is inlined
	Stderr    string
	Outputs   []Output
}

// Output is a file or directory that an action made.
type Output struct{ Path, Digest string }
