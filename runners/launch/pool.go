package launch

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/bgrid-node/bgrid-node/runners/shim"
)

// pool keeps idle shims. It grows with use and never shrinks before close.
type pool struct {
	mark      shim.Mark
	isolation shim.Isolation
	log       *slog.Logger
	swept     chan struct{} // closed when nothing of an earlier life runs any more

	mu     sync.Mutex
	idle   []*shim.Process // the last used is the first taken: its memory is warm
	taken  map[int]bool    // numbers of the live shims
	closed bool
}

var errClosed = errors.New("the runner is closed")

func newPool(o Options) *pool {
	p := &pool{log: o.Logger, isolation: o.Isolation, taken: map[int]bool{}, swept: make(chan struct{})}
	if o.Owner == "" {
		close(p.swept)
		return p
	}
	p.mark = shim.MarkFor(o.Owner)
	go p.sweep()
	return p
}

// sweep ends what an earlier life of the owner left. It takes one look at each
// process of the machine, and more only when there was something.
func (p *pool) sweep() {
	defer close(p.swept)
	n, err := p.mark.KillAll()
	if err != nil {
		p.log.Warn("end processes of an earlier life", "error", err)
	}
	if n > 0 {
		p.log.Warn("processes of an earlier life were killed", "count", n)
	}
}

// get returns a shim that is used by nobody else until put.
func (p *pool) get(ctx context.Context) (*shim.Process, error) {
	select {
	case <-p.swept:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, errClosed
	}
	if n := len(p.idle); n > 0 {
		s := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return s, nil
	}
	number := 0
	for p.taken[number] {
		number++
	}
	if number >= shim.MaxShims {
		p.mu.Unlock()
		return nil, errors.New("too many commands at once")
	}
	p.taken[number] = true
	p.mu.Unlock()
	s, err := shim.StartIsolated(p.mark, number, p.isolation)
	if err != nil {
		p.release(number)
		return nil, err
	}
	return s, nil
}

// put gives a shim back, or forgets it when its last run failed.
func (p *pool) put(s *shim.Process, err error) {
	if err != nil {
		p.release(s.Number()) // Run has ended it
		return
	}
	p.mu.Lock()
	if !p.closed {
		p.idle = append(p.idle, s)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	if err := s.Close(); err != nil {
		p.log.Warn("close shim", "error", err)
	}
}

func (p *pool) release(number int) {
	p.mu.Lock()
	delete(p.taken, number)
	p.mu.Unlock()
}

func (p *pool) close() error {
	<-p.swept
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	var err error
	for _, s := range idle {
		err = errors.Join(err, s.Close())
	}
	return err
}
