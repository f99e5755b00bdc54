package invariants

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/actioncache"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// allBlobs is a storage that has everything.
type allBlobs struct{ actioncache.Blobs }

func (allBlobs) FindMissing(context.Context, []digest.Digest) ([]digest.Digest, error) {
	return nil, nil
}
func (allBlobs) Bucket() time.Duration { return time.Hour }
func (allBlobs) LossEpoch() uint64     { return 0 }

// node is a state machine on real stores.
type node struct {
	*raftfsm.Machine
	queue *queue.Store
	cache *actioncache.Store
	dir   string
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{dir: t.TempDir()}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	var err error
	if n.queue, err = queue.Open(t.Context(), queue.Options{Path: filepath.Join(n.dir, "queue"), Logger: quiet}); err != nil {
		t.Fatal(err)
	}
	if n.cache, err = actioncache.Open(t.Context(), actioncache.Options{Dir: filepath.Join(n.dir, "cache"), Blobs: allBlobs{}, Logger: quiet}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.queue.Close(); err != nil {
			t.Error(err)
		}
		if err := n.cache.Close(); err != nil {
			t.Error(err)
		}
	})
	n.Machine = raftfsm.NewMachine(raftfsm.MachineOptions{Queue: n.queue, ActionCache: raftfsm.CacheOf(n.cache)})
	return n
}

// apply applies entries as one command each, in groups of that many.
func (n *node) apply(t *testing.T, perGroup int, entries ...*commandpb.Entry) (events [][]queue.Event) {
	t.Helper()
	first := n.Next()
	for len(entries) > 0 {
		var group []*commandpb.Command
		for _, e := range entries[:min(perGroup, len(entries))] {
			at := 1000 + int64(first) + int64(len(group))
			group = append(group, &commandpb.Command{Version: raftfsm.Version, TimeNanos: at, Entries: []*commandpb.Entry{e}})
		}
		entries = entries[len(group):]
		out, err := n.Apply(t.Context(), first, group)
		if err != nil {
			t.Fatal(err)
		}
		first += uint64(len(group))
		events = append(events, out.Events)
	}
	return events
}

func actionOf(name string) digest.Digest { return digest.Of(digest.SHA256, []byte(name)) }

func submit(name string) *commandpb.Entry {
	return raftfsm.Submit(&queuepb.Submit{
		JobId: "job-" + name, Instance: "main", Action: queue.DigestProto(actionOf(name)),
		Operation: &queuepb.Operation{Id: "op-" + name, JobId: "job-" + name},
	})
}

func open(session string) *commandpb.Entry {
	return raftfsm.OpenSession(&queuepb.OpenSession{SessionId: session, BotId: "bot", Capacity: 1})
}

func assign(name string, attempt int32, session string) *commandpb.Entry {
	return raftfsm.Assign(&queuepb.Assign{JobId: "job-" + name, Attempt: attempt, SessionId: session})
}

func complete(name string, attempt int32, session string) *commandpb.Entry {
	return raftfsm.Complete(&queuepb.Complete{
		JobId: "job-" + name, Attempt: attempt, SessionId: session, Cache: true,
		Response: &queuepb.Complete_ExecuteResponse{ExecuteResponse: []byte("response of " + name)},
		Result:   &queuepb.Complete_ActionResult{ActionResult: nil},
	})
}

func put(name string) *commandpb.Entry {
	return raftfsm.ActionCachePut(&commandpb.ActionCachePut{
		Instance: "main", Action: queue.DigestProto(actionOf(name)),
		Result: &commandpb.ActionCachePut_ActionResult{ActionResult: nil},
	})
}

// story is a log in which everything happens.
func story() []*commandpb.Entry {
	return []*commandpb.Entry{
		open("s0"), submit("a"), submit("b"), assign("a", 1, "s0"), assign("b", 1, "s0"),
		raftfsm.Attach(&queuepb.Attach{Operation: &queuepb.Operation{Id: "op-b2", JobId: "job-b"}, Priority: -1}),
		complete("a", 1, "s0"), open("s1"),
		raftfsm.CloseSession(&queuepb.CloseSession{SessionId: "s0", Reason: "it left", Keep: []string{"job-b"}, KeepSession: "s1"}),
		raftfsm.Requeue(&queuepb.Requeue{JobId: "job-b", Attempt: 1, SessionId: "s1", Reason: "it failed"}),
		assign("b", 2, "s1"), put("c"),
		raftfsm.UpdateSession(&queuepb.UpdateSession{SessionId: "s1", Draining: true}),
		raftfsm.CancelOperation(&queuepb.CancelOperation{OperationId: "op-b2", ExecuteResponse: []byte("cancelled")}),
		raftfsm.DeleteOperation(&queuepb.DeleteOperation{OperationId: "op-b2"}),
		complete("b", 2, "s1"), raftfsm.CloseSession(&queuepb.CloseSession{SessionId: "s1"}), submit("d"),
	}
}
