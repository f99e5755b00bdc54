package node

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// front is the gRPC endpoint. It can send its clients away (GOAWAY) and go on with
// a fresh server on the same address: so clients look for another node, while the
// probes of this one are still answered.
type front struct {
	build func() (*grpc.Server, error)
	relay *relay

	mu      sync.Mutex
	current *grpc.Server
	leaving sync.WaitGroup // servers whose clients were sent away
	failed  chan<- error
}

// newFront makes the first server, which serves once Serve is called.
func newFront(l net.Listener, build func() (*grpc.Server, error)) (*front, error) {
	server, err := build()
	if err != nil {
		return nil, err
	}
	return &front{build: build, relay: newRelay(l), current: server}, nil
}

// Serve begins to serve. What ends it goes to failed, unless it was asked to end.
func (f *front) Serve(failed chan<- error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = failed
	f.serve(f.current)
}

func (f *front) serve(s *grpc.Server) {
	l := f.relay.listener()
	go serve(f.failed, "gRPC", func() error { return s.Serve(l) }, grpc.ErrServerStopped)
}

// SendAway tells all clients to go elsewhere, and gives their calls a moment to
// end. New connections are served as before.
func (f *front) SendAway(grace time.Duration) error {
	next, err := f.build()
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.current
	f.current = next
	f.serve(next)
	f.leaving.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		_ = stopServer(ctx, old)
	})
	return nil
}

// Stop takes no more calls, and ends those that are under way when ctx does.
func (f *front) Stop(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = stopServer(ctx, f.current)
	f.leaving.Wait()
}

// stopServer ends a server, at once when ctx ends.
func stopServer(ctx context.Context, s *grpc.Server) error {
	ended := make(chan struct{})
	go func() { s.GracefulStop(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		s.Stop()
		<-ended
		return errors.New("calls were cut off")
	}
}
