package node

import (
	"net"
	"sync"

	"google.golang.org/grpc"

	"github.com/bgrid-node/bgrid-node/node/reapi"
	"github.com/bgrid-node/bgrid-node/runners"
)

// inner serves the Remote Execution API to actions, by sockets in their sandboxes:
// the same grid, where the empty instance name means ours too, since tools inside
// of a build are rarely told of one.
type inner struct {
	mu     sync.Mutex
	server *grpc.Server // nil: nobody asked yet
	lent   int          // slots, one for each action with a socket
}

// reapiOptions are those of all servers of this node.
func (n *Node) reapiOptions() reapi.Options {
	o := reapi.Options{
		Instance: n.config.Instance, EmptyInstance: n.config.EmptyInstance,
		CAS: n.storage, Results: n.stores.results, Scheduler: n.scheduler.Load(), Proposer: n.proposer, Streams: n.streams,
		MatchedKeys: n.config.MatchedKeys(), CarriedKeys: n.config.CarryProperty,
		MaxTimeout: n.config.MaxExecutionTimeout, MaxBlobBytes: n.stores.cas.MaxBlobBytes(),
		Closing: n.closing, Logger: n.logger,
	}
	if n.cluster != nil {
		o.ReadBarrier, o.Elsewhere = n.readBarrier, n.elsewhere
	}
	return o
}

// serveAPIs is the local worker's runners.APIsFunc. While an action has a socket,
// it waits for what it has others run: the worker takes one more meanwhile, or all
// slots could be taken by those that wait.
func (n *Node) serveAPIs(l net.Listener) {
	server, err := n.innerServer()
	if err != nil {
		n.logger.Error("serve an action's socket", keyError, err)
		return
	}
	n.lendSlots(1)
	defer n.lendSlots(-1)
	tracked := runners.Track(l)
	_ = server.Serve(tracked) // until the listener is closed
	tracked.CloseAll()
}

func (n *Node) innerServer() (*grpc.Server, error) {
	n.inner.mu.Lock()
	defer n.inner.mu.Unlock()
	if n.inner.server != nil {
		return n.inner.server, nil
	}
	o := n.reapiOptions()
	o.EmptyInstance = true
	server := grpc.NewServer(append(reapi.ServerOptions(), n.metrics.Interceptors()...)...)
	if err := reapi.Register(server, o); err != nil {
		return nil, err
	}
	n.inner.server = server
	return server, nil
}

func (n *Node) lendSlots(more int) {
	n.inner.mu.Lock()
	defer n.inner.mu.Unlock()
	n.inner.lent += more
	n.workers.session.Reshape(n.workers.offered, n.config.Slots+n.inner.lent)
}

// stopInner ends what is left of it; the actions are gone by now.
func (n *Node) stopInner() {
	n.inner.mu.Lock()
	defer n.inner.mu.Unlock()
	if n.inner.server != nil {
		n.inner.server.Stop()
	}
}
