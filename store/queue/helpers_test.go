package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// epoch is when the commands of tests begin.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// fataler is what *testing.T and *rapid.T have in common.
type fataler interface {
	Helper()
	Cleanup(func())
	Fatal(...any)
	Fatalf(string, ...any)
}

func openStore(t fataler, dir string) *Store {
	t.Helper()
	s, err := Open(context.Background(), Options{Path: filepath.Join(dir, "queue.db"), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newStore returns a store that syncs nothing and is closed when the test ends.
func newStore(t testing.TB) *Store {
	t.Helper()
	s := unsynced(t, openStore(t, t.TempDir()))
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// apply hands a message to the method that is for it.
func apply(tx *Tx, at time.Time, m proto.Message) error {
	switch m := m.(type) {
	case *queuepb.Submit:
		return tx.Submit(at, m)
	case *queuepb.Attach:
		return tx.Attach(at, m)
	case *queuepb.Assign:
		return tx.Assign(at, m)
	case *queuepb.Complete:
		return tx.Complete(at, m)
	case *queuepb.Requeue:
		return tx.Requeue(at, m)
	case *queuepb.CancelOperation:
		return tx.CancelOperation(at, m)
	case *queuepb.DeleteOperation:
		return tx.DeleteOperation(at, m)
	case *queuepb.OpenSession:
		return tx.OpenSession(at, m)
	case *queuepb.UpdateSession:
		return tx.UpdateSession(at, m)
	case *queuepb.CloseSession:
		return tx.CloseSession(at, m)
	case *queuepb.Prune:
		return tx.Prune(at, m)
	}
	panic(fmt.Sprintf("no method for %T", m))
}

// feed applies each message at a second of its own in one transaction each, and
// returns what each was refused with and all events.
func feed(t fataler, s *Store, ms ...proto.Message) (refused []error, events []Event) {
	t.Helper()
	for _, m := range ms {
		tx, err := s.Begin(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		index := s.AppliedIndex() + 1
		at := epoch.Add(time.Duration(index) * time.Second)
		refused = append(refused, apply(tx, at, m))
		events = append(events, tx.Events()...)
		if err := tx.Commit(index, at); err != nil {
			t.Fatal(err)
		}
	}
	return refused, events
}

// must is feed for messages that are not refused.
func must(t fataler, s *Store, ms ...proto.Message) []Event {
	t.Helper()
	refused, events := feed(t, s, ms...)
	if err := errors.Join(refused...); err != nil {
		t.Fatal(err)
	}
	return events
}

func check(t fataler, s *Store) {
	t.Helper()
	if err := s.Check(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func dump(t fataler, s *Store) string {
	t.Helper()
	var b bytes.Buffer
	if err := s.Dump(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// find returns an operation that must be there.
func find(t fataler, s *Store, id string) (*Operation, *Job) {
	t.Helper()
	o, j, err := s.Operation(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return o, j
}

func actionOf(name string) digest.Digest { return digest.Of(digest.SHA256, []byte(name)) }

func submit(job, op string) *queuepb.Submit {
	return &queuepb.Submit{
		JobId: job, Instance: "main", Action: DigestProto(actionOf(job)), Command: "cc -c " + job + ".c",
		Operation: &queuepb.Operation{Id: op, Client: "someone"},
	}
}

func attach(job, op string, priority int32) *queuepb.Attach {
	return &queuepb.Attach{Operation: &queuepb.Operation{Id: op, JobId: job}, Priority: priority}
}

func session(id string) *queuepb.OpenSession {
	return &queuepb.OpenSession{SessionId: id, Instance: "main", BotId: "bot of " + id, Capacity: 2}
}

func assignTo(job string, attempt int32, session string) *queuepb.Assign {
	return &queuepb.Assign{JobId: job, Attempt: attempt, SessionId: session}
}

func complete(job string, attempt int32, session string) *queuepb.Complete {
	return &queuepb.Complete{
		JobId: job, Attempt: attempt, SessionId: session, Cache: true,
		Response: &queuepb.Complete_ExecuteResponse{ExecuteResponse: []byte("response of " + job)},
		Result:   &queuepb.Complete_ActionResult{ActionResult: []byte("result of " + job)},
	}
}

func requeue(job string, attempt int32, session string) *queuepb.Requeue {
	return &queuepb.Requeue{JobId: job, Attempt: attempt, SessionId: session, Reason: "the disk burns"}
}

func cancel(op string) *queuepb.CancelOperation {
	return &queuepb.CancelOperation{OperationId: op, ExecuteResponse: []byte("cancelled " + op)}
}

func remove(op string) *queuepb.DeleteOperation {
	return &queuepb.DeleteOperation{OperationId: op}
}
