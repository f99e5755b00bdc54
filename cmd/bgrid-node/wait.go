package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/bgrid-node/bgrid-node/node/client"
)

// How long an execution may wait before the reason is told, and how often another
// reason is.
const (
	patience  = 5 * time.Second
	tellEvery = time.Minute
)

// waitTeller tells on w why an execution waits: nobody shall look at a silent
// terminal, or read an empty log, when no worker can ever take it.
type waitTeller struct {
	w io.Writer

	mu    sync.Mutex
	line  string      // of the last message; empty when it does not wait
	told  string      // the last that was told
	timer *time.Timer // not nil while it waits
}

// watch takes a message of the execution.
func (t *waitTeller) watch(op *client.Operation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := op.Summary()
	if s.WaitReason == "" || s.Done {
		if t.timer != nil {
			t.timer.Stop()
			t.timer = nil
		}
		t.line = ""
		return
	}
	t.line = fmt.Sprintf("%s is queued: %s", s.Name, s.WaitReason)
	if t.timer == nil {
		t.timer = time.AfterFunc(patience, t.tell)
	}
}

func (t *waitTeller) tell() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer == nil || t.line == "" {
		return
	}
	if t.line != t.told {
		_, _ = fmt.Fprintln(t.w, "bgrid-node: "+t.line)
		t.told = t.line
	}
	t.timer.Reset(tellEvery)
}
