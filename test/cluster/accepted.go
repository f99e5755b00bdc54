package cluster

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
)

// accepted is an operation that a client was answered with.
type accepted struct {
	name   string
	action *action
	done   atomic.Bool // a client has seen its end
}

// operations are those that were accepted, which is to say that their first answer
// was not their end, and the actions that came to an end.
type operations struct {
	mu    sync.Mutex
	all   []*accepted
	name  map[string]*accepted
	ended []*action
}

func (o *operations) accept(name string, a *action) *accepted {
	o.mu.Lock()
	defer o.mu.Unlock()
	if known := o.name[name]; known != nil {
		return known
	}
	if o.name == nil {
		o.name = map[string]*accepted{}
	}
	op := &accepted{name: name, action: a}
	o.name[name] = op
	o.all = append(o.all, op)
	return op
}

func (o *operations) end(a *action) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = append(o.ended, a)
}

// actions returns those that were accepted or have ended, each once.
func (o *operations) actions() map[*action]bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := map[*action]bool{}
	for _, a := range o.ended {
		all[a] = true
	}
	for _, op := range o.all {
		all[op.action] = true
	}
	return all
}

func (o *operations) list() []*accepted {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]*accepted(nil), o.all...)
}

// executions says which actions did not run exactly once.
func (l *Load) executions() error {
	var wrong []error
	for a := range l.operations.actions() {
		data, err := os.ReadFile(a.file)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("an action left no trace: %w", err))
			continue
		}
		if n := strings.Count(string(data), "\n"); n != 1 {
			wrong = append(wrong, fmt.Errorf("action %s ran %d times, at %s", a.file, n, strings.Fields(string(data))))
		}
	}
	if len(wrong) > mostComplaints {
		wrong = append(wrong[:mostComplaints], fmt.Errorf("and %d more", len(wrong)-mostComplaints))
	}
	return errors.Join(wrong...)
}
