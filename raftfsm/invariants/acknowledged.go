package invariants

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// Acknowledged remembers what clients were told, and proves that it is so. It is
// for tests. Safe for concurrent use.
type Acknowledged struct {
	mu      sync.Mutex
	ops     map[string]*operation
	results map[entryKey]entry
	broken  []error
}

type operation struct {
	job      string // "" until somebody said so
	response []byte // serialised ExecuteResponse of the first who saw it done; nil before
}

type entryKey struct{ instance, action string }

// entry is what is known of an entry of the action cache.
type entry struct {
	index   uint64 // of the command that wrote it
	content string // as Dump has it; "" when it is not known
}

// NewAcknowledged returns one to which nothing was said.
func NewAcknowledged() *Acknowledged {
	return &Acknowledged{ops: map[string]*operation{}, results: map[entryKey]entry{}}
}

func (a *Acknowledged) fail(format string, args ...any) {
	if len(a.broken) < 20 {
		a.broken = append(a.broken, fmt.Errorf("%w: "+format, append([]any{ErrBroken}, args...)...))
	}
}

// Err returns what was found so far.
func (a *Acknowledged) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return errors.Join(a.broken...)
}

// Operation says that an Execute was answered with the operation of this id.
func (a *Acknowledged) Operation(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ops[id] == nil {
		a.ops[id] = &operation{}
	}
}

// Done says that a client saw the operation done, with this job and response: the
// same whenever and wherever it looks.
func (a *Acknowledged) Done(id, job string, response []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	o := a.ops[id]
	switch {
	case o == nil:
		a.fail("operation %s is done, which nobody made", id)
	case o.response == nil:
		o.job, o.response = job, append([]byte{}, response...)
	case o.job != job || !bytes.Equal(o.response, response):
		a.fail("operation %s was done with one result of job %s, and is now with another of job %s", id, o.job, job)
	}
}

// Result says that the action cache has a result, serialised and small enough for
// the log, since the command with this index.
func (a *Acknowledged) Result(instance string, action digest.Digest, index uint64, result []byte) {
	a.result(instance, action, index, fmt.Sprintf("inline=%x", sha256.Sum256(result)))
}

// SomeResult is Result without saying which.
func (a *Acknowledged) SomeResult(instance string, action digest.Digest, index uint64) {
	a.result(instance, action, index, "")
}

func (a *Acknowledged) result(instance string, action digest.Digest, index uint64, content string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := entryKey{instance, action.String()}
	switch old := a.results[k]; {
	case old.index == index && old.content != "" && content != "" && old.content != content:
		a.fail("the result of %s was written twice at %d", k.action, index)
	case old.index < index, old.index == index && content != "":
		a.results[k] = entry{index, content}
	}
}

// Evicted says that a command to forget a result may be applied: from now on
// nothing is expected of it until it is written again.
func (a *Acknowledged) Evicted(instance string, action digest.Digest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.results, entryKey{instance, action.String()})
}

// Verify looks whether a node that has applied everything has all that was
// acknowledged.
func (a *Acknowledged) Verify(ctx context.Context, node string, q Queue, c Cache) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := len(a.broken)
	for id, o := range a.ops {
		if err := a.verifyOperation(ctx, node, q, id, o); err != nil {
			return err
		}
	}
	have, err := entriesOf(ctx, c)
	if err != nil {
		return err
	}
	for k, want := range a.results {
		got, ok := have[k]
		switch {
		case !ok:
			a.fail("node %s has no result of %s, which was acknowledged at %d", node, k.action, want.index)
		case got.index < want.index:
			a.fail("node %s has the result of %s of index %d, that of %d was acknowledged", node, k.action, got.index, want.index)
		case got.index == want.index && want.content != "" && got.content != want.content:
			a.fail("node %s has another result of %s of index %d", node, k.action, got.index)
		}
	}
	return errors.Join(a.broken[before:]...)
}

func (a *Acknowledged) verifyOperation(ctx context.Context, node string, q Queue, id string, want *operation) error {
	o, j, err := q.Operation(ctx, id)
	if errors.Is(err, queue.ErrNotFound) {
		a.fail("node %s lacks operation %s, which was acknowledged", node, id)
		return nil
	}
	if err != nil {
		return fmt.Errorf("verify operation %s: %w", id, err)
	}
	done := j.Stage == queue.Completed || o.Cancelled
	response := j.Response
	if o.Response != nil {
		response = o.Response
	}
	switch {
	case want.response == nil:
	case !done:
		a.fail("on node %s operation %s is not done, a client saw it so", node, id)
	case j.ID != want.job || !bytes.Equal(response, want.response) && j.ResponseBlob.IsZero():
		a.fail("on node %s operation %s has another result than a client saw", node, id)
	}
	return nil
}

// entriesOf reads the entries of an action cache from its dump.
func entriesOf(ctx context.Context, c Cache) (map[entryKey]entry, error) {
	var text strings.Builder
	if err := c.Dump(ctx, &text); err != nil {
		return nil, fmt.Errorf("verify action cache: %w", err)
	}
	out := map[entryKey]entry{}
	for lines := bufio.NewScanner(strings.NewReader(text.String())); lines.Scan(); {
		if !strings.HasPrefix(lines.Text(), "entry ") {
			continue
		}
		var k entryKey
		var e entry
		if _, err := fmt.Sscanf(lines.Text(), "entry instance=%q action=%s index=%d %s", &k.instance, &k.action, &e.index, &e.content); err != nil {
			return nil, fmt.Errorf("verify action cache: read %q: %w", lines.Text(), err)
		}
		out[k] = e
	}
	return out, nil
}
