package raftfsm

import (
	"sync"
	"time"
)

// tasks are goroutines that are waited for at the end.
type tasks struct {
	mu     sync.Mutex
	n      int
	closed bool
	idle   chan struct{} // closed when closed and none is left
}

func newTasks() *tasks { return &tasks{idle: make(chan struct{})} }

// run does something in a goroutine of its own, unless it is too late: false.
func (t *tasks) run(do func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.n++
	go func() {
		defer t.end()
		do()
	}()
	return true
}

func (t *tasks) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n--; t.n == 0 && t.closed {
		close(t.idle)
	}
}

// close refuses further ones and waits for the others, but not for ever.
func (t *tasks) close(limit time.Duration) {
	t.mu.Lock()
	if !t.closed {
		if t.closed = true; t.n == 0 {
			close(t.idle)
		}
	}
	t.mu.Unlock()
	select {
	case <-t.idle:
	case <-time.After(limit):
	}
}
