// Package route lets every node of a cluster answer every call: those that only
// the leader can answer go to it, in process or to its peer port, and go on at the
// next leader when it changes. See DESIGN.md.
package route

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// Cluster is what the router knows of the nodes; *cluster.Cluster is one. Its
// methods do not wait, and do not call the router.
type Cluster interface {
	// Self is this node's id.
	Self() string
	// Leader is the id of the node that leads, as far as this node knows.
	Leader() (id string, ok bool)
	// Changed is closed when Leader may have changed.
	Changed() <-chan struct{}
	// Conn is a connection to the peer port of a node.
	Conn(id string) (*grpc.ClientConn, error)
}

// Options of a Router.
type Options struct {
	Cluster Cluster // required
	// Verify tells whether this node still leads at this moment. Before this node
	// answers as the leader that it does not know something, it asks: another one
	// may lead already, and know it.
	Verify func(ctx context.Context) error // required
	// Patience is how long there may be no leader, or how long the leader may go on
	// answering UNAVAILABLE, until clients are told so. Default 10 s.
	Patience time.Duration
	Logger   *slog.Logger // nil: slog.Default()
}

// Keys of log lines.
const keyLeader = "leader"

// Router sends calls to whichever node leads.
type Router struct {
	o   Options
	log *slog.Logger

	services []service // in the order of Handle

	mu      sync.Mutex
	local   *Services     // while this node leads and its scheduler runs; else nil
	target  *target       // never nil
	changed chan struct{} // closed when target changes
	lost    time.Time     // since when there is no usable target; zero: there is one
	closed  bool

	stop chan struct{}
	done chan struct{}
}

// New returns a router that follows the leader until Close.
func New(o Options) (*Router, error) {
	if o.Cluster == nil || o.Verify == nil {
		return nil, errors.New("router: Cluster and Verify must be set")
	}
	if o.Patience <= 0 {
		o.Patience = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	r := &Router{
		o: o, log: o.Logger, changed: make(chan struct{}), lost: time.Now(), target: newTarget("", nil),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	go r.watch()
	return r, nil
}

// Lead says that this node leads and serves calls by s, until Follow.
func (r *Router) Lead(s *Services) {
	s.verify = r.o.Verify
	r.setLocal(s)
}

// Follow says that this node does not lead, or not any more. Calls that are under
// way at its services end, and go on at the next leader.
func (r *Router) Follow() { r.setLocal(nil) }

// Close ends all calls with UNAVAILABLE.
func (r *Router) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	r.retarget("", nil)
	r.mu.Unlock()
	close(r.stop)
	<-r.done
	return nil
}
