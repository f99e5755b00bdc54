package main

import (
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// ledger is what a node has acknowledged to its clients.
type ledger struct {
	mu      sync.Mutex
	blobs   map[digest.Digest]struct{}
	results map[digest.Digest]digest.Digest // output by action, of executions that ended well
	ops     map[string]*accepted            // by operation name
}

// accepted is an operation that was answered with, not done.
type accepted struct {
	name   string
	action digest.Digest
	output digest.Digest // what it must come to
	done   bool          // the client has seen its end
}

func newLedger() *ledger {
	return &ledger{blobs: map[digest.Digest]struct{}{}, results: map[digest.Digest]digest.Digest{}, ops: map[string]*accepted{}}
}

// stored notes blobs whose upload was answered with OK.
func (l *ledger) stored(ds ...digest.Digest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range ds {
		l.blobs[d] = struct{}{}
	}
}

// accept notes the first answer to an Execute.
func (l *ledger) accept(a accepted) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ops[a.name] == nil {
		l.ops[a.name] = &a
	}
}

// finish notes the end of an operation.
func (l *ledger) finish(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.ops[name]; a != nil {
		a.done = true
		l.results[a.action] = a.output
		l.blobs[a.output] = struct{}{}
	}
}

// snapshot returns a copy of what was acknowledged until now.
func (l *ledger) snapshot() *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &ledger{blobs: maps.Clone(l.blobs), results: maps.Clone(l.results), ops: map[string]*accepted{}}
	for name, a := range l.ops {
		copied := *a
		s.ops[name] = &copied
	}
	return s
}

// blobList returns the blobs in an order of no meaning.
func (l *ledger) blobList() []digest.Digest {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.blobs))
}

// worthwhile is an error when a load achieved nothing, so that there is nothing to
// look at: on a machine that is too slow, or with a node that refuses everything.
func (l *ledger) worthwhile() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ops) == 0 || len(l.blobs) == 0 {
		return errors.New("the load achieved nothing: no operation was accepted")
	}
	return nil
}

// unfinished returns how many operations were accepted, and how many of these
// the client has not seen the end of.
func (l *ledger) unfinished() (all, unfinished int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.ops {
		if !a.done {
			unfinished++
		}
	}
	return len(l.ops), unfinished
}
