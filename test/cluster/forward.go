package cluster

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/bgrid-node/bgrid-node/test/harness"
)

const (
	probePause = 100 * time.Millisecond // between two questions to a node
	outOfReach = 3 * time.Second        // without any answer: its connections are cut
)

// Forwarder is a load balancer for clients that know one address. It gives each
// connection to one of the nodes that say they can serve, as a service of
// Kubernetes does, and cuts those to a node that does not answer at all, as
// HAProxy does on request (on-marked-down shutdown-sessions). Otherwise a
// connection stays where it is.
type Forwarder struct {
	listener net.Listener
	targets  []*target
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

// target is a node behind a Forwarder.
type target struct {
	address string

	mu      sync.Mutex
	serving bool
	heard   time.Time
	open    map[net.Conn]bool // guarded by mu
}

// Forward listens at an address for clients of the servers. End it with Close.
func Forward(listen string, servers []string) (*Forwarder, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("start forwarder: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &Forwarder{listener: l, cancel: cancel}
	for _, address := range servers {
		t := &target{address: address, heard: time.Now(), open: map[net.Conn]bool{}}
		f.targets = append(f.targets, t)
		f.wg.Go(func() { t.probe(ctx) })
	}
	f.wg.Go(f.accept)
	return f, nil
}

// Address is where clients connect.
func (f *Forwarder) Address() string { return f.listener.Addr().String() }

// Close ends all connections.
func (f *Forwarder) Close() {
	f.cancel()
	_ = f.listener.Close()
	for _, t := range f.targets {
		t.cut()
	}
	f.wg.Wait()
}

func (f *Forwarder) accept() {
	for {
		client, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.wg.Go(func() { f.pass(client) })
	}
}

// pass connects a client with a node, or refuses it when no node can serve.
func (f *Forwarder) pass(client net.Conn) {
	defer client.Close()
	var ready []*target
	for _, t := range f.targets {
		if t.ready() {
			ready = append(ready, t)
		}
	}
	if len(ready) == 0 {
		return
	}
	t := ready[rand.IntN(len(ready))]
	node, err := net.DialTimeout("tcp", t.address, outOfReach)
	if err != nil {
		return
	}
	defer node.Close()
	if !t.keep(client, node) {
		return
	}
	defer t.drop(client, node)
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, node}, {node, client}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_ = way[0].(*net.TCPConn).CloseWrite()
		})
	}
	both.Wait()
}

// probe asks the node again and again.
func (t *target) probe(ctx context.Context) {
	for {
		err := harness.Serving(ctx, t.address)
		if ctx.Err() != nil {
			return
		}
		if t.note(err) {
			t.cut()
		}
		select {
		case <-time.After(probePause):
		case <-ctx.Done():
			return
		}
	}
}

// note notes an answer, and tells whether there was none for too long.
func (t *target) note(err error) (gone bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.serving = err == nil
	if err == nil || !away(err) && !late(err) {
		t.heard = time.Now()
	}
	return time.Since(t.heard) > outOfReach
}

func (t *target) ready() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.serving
}

func (t *target) keep(conns ...net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range conns {
		t.open[c] = true
	}
	return t.serving
}

func (t *target) drop(conns ...net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range conns {
		delete(t.open, c)
	}
}

// cut ends the connections to the node.
func (t *target) cut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.open {
		_ = c.Close()
	}
}
