package launch

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strconv"
	"sync"

	"github.com/bgrid-node/bgrid-node/runners/cgroup"
	"github.com/bgrid-node/bgrid-node/runners/shim"
)

// pool keeps idle shims. It grows with use and never shrinks before close.
type pool struct {
	mark      shim.Mark
	isolation shim.Isolation
	groups    *cgroup.Manager
	name      string // of the groups
	log       *slog.Logger
	swept     chan struct{} // closed when nothing of an earlier life runs any more

	mu     sync.Mutex
	idle   []member     // the last used is the first taken: its memory is warm
	taken  map[int]bool // numbers of the live shims
	closed bool
}

var errClosed = errors.New("the runner is closed")

func newPool(o Options) *pool {
	p := &pool{log: o.Logger, isolation: o.Isolation, groups: o.Groups, taken: map[int]bool{}, swept: make(chan struct{})}
	p.name = nameOf(fmt.Sprintf("%s %p", o.Owner, p))
	if o.Owner == "" {
		close(p.swept)
		return p
	}
	p.mark = shim.MarkFor(o.Owner)
	go p.sweep()
	return p
}

// nameOf is short, and differs between the launchers of a process.
func nameOf(owner string) string {
	h := fnv.New64a()
	h.Write([]byte(owner))
	return strconv.FormatUint(h.Sum64(), 36)
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
func (p *pool) get(ctx context.Context) (member, error) {
	select {
	case <-p.swept:
	case <-ctx.Done():
		return member{}, ctx.Err()
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return member{}, errClosed
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
		return member{}, errors.New("too many commands at once")
	}
	p.taken[number] = true
	p.mu.Unlock()
	m, err := p.start(number)
	if err != nil {
		p.release(number)
	}
	return m, err
}

// start starts a shim in a control group of its own.
func (p *pool) start(number int) (m member, err error) {
	if p.groups != nil {
		if m.group, err = p.groups.Group(p.name + "-" + strconv.Itoa(number)); err != nil {
			return m, err
		}
	}
	if m.Process, err = shim.StartIsolated(p.mark, number, p.isolation); err != nil {
		m.removeGroup(p.log)
		return m, err
	}
	if m.group != nil {
		if err := m.group.Add(m.PID()); err != nil {
			return m, errors.Join(err, m.end(p.log))
		}
	}
	return m, nil
}

// end closes the shim, which must not be running a command.
func (m member) end(log *slog.Logger) error {
	err := m.Close()
	m.removeGroup(log)
	return err
}

func (m member) removeGroup(log *slog.Logger) {
	if m.group == nil {
		return
	}
	if err := m.group.Remove(); err != nil {
		log.Warn("remove control group", "error", err)
	}
}

// put gives a shim back, or forgets it when its last run failed.
func (p *pool) put(s member, err error) {
	if err != nil {
		s.removeGroup(p.log)
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
	if err := s.end(p.log); err != nil {
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
		err = errors.Join(err, s.end(p.log))
	}
	return err
}
