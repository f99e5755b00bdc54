package invariants

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

// Groups compares what the nodes of one grid hear of each committed group, while
// they run: replicas hear the same at the same index, and each of them hears of
// indexes that grow. It keeps everything; it is for tests. Safe for concurrent use.
type Groups struct {
	mu     sync.Mutex
	groups map[uint64]*told
	last   map[string]uint64 // by node
	broken []error
}

// told is what was first heard of a group.
type told struct {
	by     string
	sum    [sha256.Size]byte
	events []queue.Event
}

// NewGroups returns one that has heard nothing.
func NewGroups() *Groups {
	return &Groups{groups: map[uint64]*told{}, last: map[string]uint64{}}
}

// Observe takes what a node's raftfsm.Observer is told, and the AppliedIndex of its
// queue then. After a restart the log gives a node groups again that its stores
// have, of which it hears nothing.
func (g *Groups) Observe(node string, index uint64, events []queue.Event, applied uint64) {
	sum := sumOf(events)
	g.mu.Lock()
	defer g.mu.Unlock()
	if last := g.last[node]; index <= last {
		g.fail("node %s applied index %d after %d", node, index, last)
	}
	g.last[node] = index
	if len(events) == 0 && index <= applied {
		return
	}
	first := g.groups[index]
	if first == nil {
		g.groups[index] = &told{by: node, sum: sum, events: events}
		return
	}
	if first.sum != sum {
		g.fail("nodes %s and %s applied index %d differently: %s and %s", first.by, node, index, describe(first.events), describe(events))
	}
}

// Restarted says that a node begins again: it may hear of groups once more.
func (g *Groups) Restarted(node string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.last, node)
}

// fail notes a broken invariant that somebody else saw.
func (g *Groups) fail(format string, args ...any) {
	if len(g.broken) < 20 {
		g.broken = append(g.broken, fmt.Errorf("%w: "+format, append([]any{ErrBroken}, args...)...))
	}
}

// Err returns what was found so far.
func (g *Groups) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return errors.Join(g.broken...)
}

// Check follows all jobs, operations and sessions through all groups that any
// node heard of, in the order of the log, and returns what Err does besides what
// it finds. There is no group that no node heard of, when each node observes all
// that it applies and no node's whole life is forgotten.
func (g *Groups) Check(limits Limits) (*Ledger, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := newLedger(limits)
	for _, index := range slices.Sorted(maps.Keys(g.groups)) {
		l.group(index, g.groups[index].events)
	}
	return l, errors.Join(append(slices.Clone(g.broken), l.broken...)...)
}

// sumOf returns a hash of all that the events say.
func sumOf(events []queue.Event) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, e := range events {
		fmt.Fprintln(h, e.Kind)
		writeJob(h, e.Job)
		writeOperation(h, e.Operation)
		writeSession(h, e.Session)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func writeJob(h hash.Hash, j *queue.Job) {
	if j == nil {
		return
	}
	fmt.Fprintf(h, "job %q %q %s %q %d %q %q %d %t %d %d %d %d %q %q %q %t %d %d %d %x %s\n",
		j.ID, j.Instance, j.Action, j.Command, j.Priority, j.Matched, j.Carried, j.Timeout, j.DoNotCache,
		j.Stage, j.Attempt, j.Failures, j.Losses, j.History, j.SessionID, j.BotID, j.Front,
		nanos(j.QueuedAt), nanos(j.StartedAt), nanos(j.CompletedAt), j.Response, j.ResponseBlob)
}

func writeOperation(h hash.Hash, o *queue.Operation) {
	if o == nil {
		return
	}
	fmt.Fprintf(h, "operation %q %q %q %x %q %d %t %x\n",
		o.ID, o.JobID, o.Instance, o.RequestMetadata, o.Client, nanos(o.CreatedAt), o.Cancelled, o.Response)
}

func writeSession(h hash.Hash, s *queue.Session) {
	if s == nil {
		return
	}
	fmt.Fprintf(h, "session %q %q %q %q %d %t %q %t %d\n",
		s.ID, s.Instance, s.BotID, s.Properties, s.Capacity, s.Local, s.NodeID, s.Draining, nanos(s.OpenedAt))
}

// nanos is the same on each node, whatever its time zone.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// describe lists the kinds of events with the ids that they are about.
func describe(events []queue.Event) string {
	out := fmt.Sprintf("%d events", len(events))
	for _, e := range events[:min(len(events), 8)] {
		out += fmt.Sprintf(", %d", e.Kind)
		if e.Job != nil {
			out += fmt.Sprintf(" job %.8s attempt %d", e.Job.ID, e.Job.Attempt)
		}
		if e.Operation != nil {
			out += fmt.Sprintf(" operation %.8s", e.Operation.ID)
		}
		if e.Session != nil {
			out += fmt.Sprintf(" session %.8s", e.Session.ID)
		}
	}
	return out
}
