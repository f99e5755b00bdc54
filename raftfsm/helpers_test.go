package raftfsm

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// fakeCache is an action cache in memory, with a log on disk that is appended to
// and synced where path is set.
type fakeCache struct {
	mu      sync.Mutex
	index   uint64
	entries map[string]string
	fail    error
	log     *os.File
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
		c.entries = map[string]string{}
	}
	for _, w := range ws {
		key := w.Instance + " " + w.Action.String()
		if w.Evict {
			delete(c.entries, key)
		} else {
			c.entries[key] = string(w.Result)
		}
		if c.log != nil {
			if _, err := fmt.Fprintln(c.log, index, key, string(w.Result)); err != nil {
				return err
			}
		}
	}
	c.index = index
	if c.log != nil {
		return c.log.Sync()
	}
	return nil
}

func (c *fakeCache) AppliedIndex() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.index
}

func (c *fakeCache) get(key string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries[key]
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
