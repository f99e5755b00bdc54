package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"
)

// fakeSource is a node in memory.
type fakeSource struct {
	mu     sync.Mutex
	status Status
	op     *Operation
	ready  error
	err    error

	nodeDrains int
}

func (f *fakeSource) Status(context.Context) (*Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status
	return &s, f.err
}

func (f *fakeSource) Operation(_ context.Context, name string) (*Operation, error) {
	if name == "broken" {
		return nil, errors.New("secret detail")
	}
	if f.op == nil || f.op.Name != name {
		return nil, ErrNotFound
	}
	return f.op, nil
}

func (f *fakeSource) Drain(context.Context) error {
	f.nodeDrains++
	return nil
}

func (f *fakeSource) DrainWorker(botID string, drain bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.status.Workers {
		if f.status.Workers[i].BotID == botID {
			f.status.Workers[i].Drained = drain
			return nil
		}
	}
	return ErrNoWorker
}

func (f *fakeSource) Ready() error { return f.ready }

func (f *fakeSource) change(do func(s *Status)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do(&f.status)
}

// busy is a node with something in each list.
func busy() *fakeSource {
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	return &fakeSource{
		status: Status{
			Version: "v1.2.3", Revision: "abc", NodeID: "n1", Instance: "buildgrid", Listen: "127.0.0.1:50051",
			Started: ago(3 * time.Hour), UncleanShutdowns: 2,
			Workers: []Worker{{
				BotID: "laptop/local", Properties: []string{"ISA=x86-64", "OSFamily=linux", "runner=hosttools"}, Slots: 4, Local: true,
				Running: []Running{
					{Operation: "buildgrid/6d3b1f0c-5f0a-4c0e-9a51-0c58a2a7a001", Command: "gcc -O2 -c src/very/long/path/of/a/file.c -o out/file.o", Attempt: 1, Since: ago(4 * time.Second)},
					{Operation: "buildgrid/6d3b1f0c-5f0a-4c0e-9a51-0c58a2a7a002", Command: "ld <script> -o a.out", Attempt: 2, Since: ago(90 * time.Second)},
				},
			}},
			Platforms: []Platform{{Properties: "ISA=x86-64,OSFamily=linux,runner=hosttools", Slots: 4, Busy: 2, Queued: 0}, {Properties: "runner=bubblewrap", Queued: 12}},
			Queue: []Waiting{{
				Operation: "buildgrid/6d3b1f0c-5f0a-4c0e-9a51-0c58a2a7a003", Command: "cmake --build .", Platform: "runner=bubblewrap",
				Since: ago(20 * time.Second), Reason: "no worker offers runner=bubblewrap", Priority: 5,
			}},
			QueueLength: 12,
			Recent: []Recent{
				{Operation: "buildgrid/6d3b1f0c-5f0a-4c0e-9a51-0c58a2a7a004", Command: "cc -c a.c", Outcome: Succeeded, Worker: "laptop/local", Completed: ago(time.Minute), Took: 340 * time.Millisecond},
				{Operation: "buildgrid/6d3b1f0c-5f0a-4c0e-9a51-0c58a2a7a005", Command: "./test", Outcome: TimedOut, Worker: "laptop/local", Completed: ago(2 * time.Minute), Took: 61 * time.Second},
			},
			CAS:         Store{Items: 123456, Bytes: 3 << 30, MaxBytes: 10 << 30},
			ActionCache: Store{Items: 4321, Bytes: 12 << 20, MaxBytes: -1},
			Clients:     []Client{{"bazel", "build --remote_executor=grpc://127.0.0.1:50051\n"}, {"recc", "export RECC_SERVER=http://127.0.0.1:50051\n"}},
		},
		op: &Operation{
			Name: "buildgrid/6d3b1f0c-5f0a-4c0e-9a51-0c58a2a7a002", Stage: "COMPLETED", Outcome: Failed, Command: "cc -c a.c",
			Action: "aa/12", Platform: []string{"runner=hosttools"}, Attempt: 2, History: []string{"attempt 1: <the worker went away>"},
			Worker: "laptop/local", Queued: ago(time.Minute), Started: ago(50 * time.Second), Completed: ago(40 * time.Second),
			Stderr: "a.c:1: error: <oops>", Outputs: []Output{{"a.o", "bb/3"}},
		},
	}
}

func newServer(t *testing.T, source Source) (*Server, *Metrics) {
	t.Helper()
	metrics := NewMetrics()
	metrics.Watch(source)
	s, err := New(Options{Source: source, Metrics: metrics, LoopbackOnly: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return s, metrics
}
