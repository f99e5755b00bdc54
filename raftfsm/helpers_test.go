package raftfsm

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// fakeCache is an action cache in memory, with a log on disk that is appended to
// and synced where log is set.
type fakeCache struct {
	mu      sync.Mutex
	index   uint64
	entries map[string]cached
	applied int   // writes
	fail    error // instead of applying
	after   error // after applying: the crash between the stores
	log     *os.File
}

type cached struct {
	result string
	index  uint64
}

func (c *fakeCache) Apply(index uint64, ws []queue.ActionCacheWrite) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return c.fail
	}
	if index <= c.index {
		return nil
	}
	if c.entries == nil {
		c.entries = map[string]cached{}
	}
	for _, w := range ws {
		key := w.Instance + " " + w.Action.String()
		if !w.Evict {
			c.entries[key] = cached{string(w.Result), w.Index}
		} else if c.entries[key].index <= w.IfWrittenAtOrBefore {
			delete(c.entries, key)
		}
		c.applied++
		if c.log != nil {
			if _, err := fmt.Fprintln(c.log, w.Index, key, string(w.Result)); err != nil {
				return err
			}
		}
	}
	c.index = index
	if c.log != nil {
		if err := c.log.Sync(); err != nil {
			return err
		}
	}
	return c.after
}

func (c *fakeCache) AppliedIndex() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.index
}

// Export writes a line for each entry.
func (c *fakeCache) Export(_ context.Context, to io.Writer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := json.NewEncoder(to).Encode(c.index)
	for k, v := range c.entries {
		err = errors.Join(err, json.NewEncoder(to).Encode([]any{k, v.result, v.index}))
	}
	return err
}

func (c *fakeCache) Import(_ context.Context, from io.Reader, replace bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return c.fail
	}
	d := json.NewDecoder(from)
	var index uint64
	if err := d.Decode(&index); err != nil {
		return err
	}
	if index <= c.index && !replace {
		return nil
	}
	c.index, c.entries = index, map[string]cached{}
	for d.More() {
		var k string
		var v cached
		if err := d.Decode(&[]any{&k, &v.result, &v.index}); err != nil {
			return err
		}
		c.entries[k] = v
	}
	return c.after
}

func (c *fakeCache) writes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.applied
}

func (c *fakeCache) setFail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = err
}

func (c *fakeCache) get(key string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries[key].result
}

// recorder keeps what an Observer is told.
type recorder struct {
	mu     sync.Mutex
	index  []uint64
	events []queue.Event
}

func (r *recorder) observe(index uint64, events []queue.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.index = append(r.index, index)
	r.events = append(r.events, events...)
}

func (r *recorder) kinds() []queue.EventKind {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ks []queue.EventKind
	for _, e := range r.events {
		ks = append(ks, e.Kind)
	}
	return ks
}

func (r *recorder) indexes() []uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.index)
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func openQueue(t testing.TB, dir string) *queue.Store {
	t.Helper()
	q, err := queue.Open(context.Background(), queue.Options{Path: filepath.Join(dir, "queue.db"), Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
	return q
}

func openLocal(t testing.TB, o LocalOptions) *Local {
	t.Helper()
	o.Logger = quiet()
	if o.ActionCache == nil {
		o.ActionCache = &fakeCache{}
	}
	l, err := OpenLocal(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// submission returns a job with ids made of its name.
func submission(name string) *queuepb.Submit {
	return &queuepb.Submit{
		JobId: "job-" + name, Instance: "main", Action: queue.DigestProto(digest.Of(digest.SHA256, []byte(name))),
		Command:   "cc -c -O2 -o out/" + name + ".o src/" + name + ".c",
		Matched:   []*queuepb.Property{{Name: "ISA", Value: "x86-64"}, {Name: "OSFamily", Value: "linux"}},
		Operation: &queuepb.Operation{Id: "op-" + name, RequestMetadata: []byte{}, Client: "127.0.0.1:4711"},
	}
}

func completion(name string, attempt int32, session string) *queuepb.Complete {
	return &queuepb.Complete{
		JobId: "job-" + name, Attempt: attempt, SessionId: session, Cache: true,
		Response: &queuepb.Complete_ExecuteResponse{ExecuteResponse: []byte("response of " + name)},
		Result:   &queuepb.Complete_ActionResult{ActionResult: []byte("result of " + name)},
	}
}

// actionPut writes a result to the action cache alone.
func actionPut(name string) *commandpb.Entry {
	return ActionCachePut(&commandpb.ActionCachePut{
		Instance: "main", Action: queue.DigestProto(digest.Of(digest.SHA256, []byte(name))),
		Result: &commandpb.ActionCachePut_ActionResult{ActionResult: []byte("put " + name)},
	})
}

// damage changes the queue's file behind its back.
func damage(t testing.TB, dir, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "queue.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

func actionDigest(name string) string { return digest.Of(digest.SHA256, []byte(name)).String() }
