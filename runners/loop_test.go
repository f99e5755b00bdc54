package runners_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"

	"github.com/bgrid-node/bgrid-node/runners"
)

// fakeRunner is a Runner for tests of what is around it.
type fakeRunner struct {
	name string
	run  func(ctx context.Context, t runners.Task) (runners.Exit, error)
}

func (f *fakeRunner) Name() string { return f.name }

func (f *fakeRunner) Run(ctx context.Context, t runners.Task) (runners.Exit, error) {
	return f.run(ctx, t)
}

func withRunners(rs ...runners.Runner) func(*runners.WorkerOptions) {
	return func(o *runners.WorkerOptions) { o.Runners = rs }
}

// gate is a runner whose commands end when the test says so.
func gate() (r *fakeRunner, started chan runners.Task, release chan struct{}) {
	started, release = make(chan runners.Task, 100), make(chan struct{})
	return &fakeRunner{name: "gate", run: func(ctx context.Context, t runners.Task) (runners.Exit, error) {
		started <- t
		select {
		case <-release:
			now := time.Now()
			return runners.Exit{Started: now, Completed: now}, nil
		case <-ctx.Done():
			return runners.Exit{}, ctx.Err()
		}
	}}, started, release
}

func TestDrainFinishesWhatRuns(t *testing.T) {
	r, started, release := gate()
	b := start(t, withRunners(r))
	b.assign(b.lease(sh(""), noInputs))
	<-started
	close(b.session.events)
	release <- struct{}{}
	if c := b.completion(); c.Status != nil || c.Result == nil {
		t.Errorf("completion: %v", c)
	}
	<-b.stopped
	if b.err != nil {
		t.Errorf("Run ended with %v", b.err)
	}
}

func TestTheEndOfTheContextKillsAndCompletesNothing(t *testing.T) {
	b := start(t, nil)
	fifo := filepath.Join(t.TempDir(), "alive")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	b.assign(b.lease(sh("exec 9>"+fifo+"; setsid -f sleep 1000; echo >&9; exec sleep 1000"), noInputs))
	f, err := os.Open(fifo)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	b.kill()
	<-b.stopped
	if !errors.Is(b.err, context.Canceled) {
		t.Errorf("Run ended with %v", b.err)
	}
	if n, err := f.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("a process lives on: %d bytes, %v", n, err)
	}
	if n := len(b.session.done); n != 0 {
		t.Errorf("%d completions were sent", n)
	}
}

func TestACancelledLeaseIsKilledAlone(t *testing.T) {
	r, started, release := gate()
	b := start(t, withRunners(r))
	first, second := b.lease(sh(""), noInputs), b.lease(sh(""), noInputs)
	b.assign(first)
	<-started
	b.assign(second)
	<-started
	b.session.events <- runners.Event{Cancelled: "unknown"}
	b.session.events <- runners.Event{Cancelled: first.ID}
	if c := b.completion(); c.LeaseID != first.ID || code.Code(c.Status.GetCode()) != code.Code_CANCELLED || c.Result != nil {
		t.Errorf("the first ended with %v", c)
	}
	release <- struct{}{}
	if c := b.completion(); c.LeaseID != second.ID || c.Status != nil {
		t.Errorf("the second ended with %v", c)
	}
}

func TestCompletionIsSentUntilItIsAcknowledged(t *testing.T) {
	r, started, release := gate()
	b := start(t, func(o *runners.WorkerOptions) { o.Runners = []runners.Runner{r} })
	var tries atomic.Int32
	b.session.refuse = func(runners.Completion) error {
		if tries.Add(1) < 4 {
			return errors.New("no leader")
		}
		return nil
	}
	b.assign(b.lease(sh(""), noInputs))
	<-started
	close(b.session.events) // and the drain waits for it
	release <- struct{}{}
	if c := b.completion(); c.Status != nil || tries.Load() != 4 {
		t.Errorf("completion %v after %d tries", c, tries.Load())
	}
	<-b.stopped
}

func TestANewAttemptTakesThePlaceOfTheOld(t *testing.T) {
	r, started, release := gate()
	b := start(t, withRunners(r))
	l := b.lease(sh(""), noInputs)
	l.Attempt = 2
	b.assign(l)
	<-started
	again, newer := *l, *l
	newer.Attempt = 3
	b.assign(&again) // sent twice: once is enough
	b.assign(&newer)
	if c := b.completion(); c.Attempt != 2 || code.Code(c.Status.GetCode()) != code.Code_CANCELLED {
		t.Errorf("the old attempt ended with %v", c)
	}
	<-started
	release <- struct{}{}
	if c := b.completion(); c.Attempt != 3 || c.Status != nil {
		t.Errorf("the new attempt ended with %v", c)
	}
	close(b.session.events)
	<-b.stopped
	if len(started) != 0 || len(b.session.done) != 0 {
		t.Error("the attempt that was sent twice ran twice")
	}
}

// flakySession fails before it gives what the session has.
type flakySession struct {
	*session
	failures atomic.Int32
}

func (f *flakySession) Next(ctx context.Context) (runners.Event, error) {
	if f.failures.Add(-1) >= 0 {
		return runners.Event{}, errors.New("connection reset")
	}
	return f.session.Next(ctx)
}

func TestTroubleWithTheSessionIsNotTheEnd(t *testing.T) {
	r, started, release := gate()
	b := start(t, func(o *runners.WorkerOptions) {
		flaky := &flakySession{session: o.Leases.(*session)}
		flaky.failures.Store(3)
		o.Leases, o.Runners = flaky, []runners.Runner{r}
	})
	b.assign(b.lease(sh(""), noInputs))
	<-started
	release <- struct{}{}
	b.completion()
}

func TestNoMoreCommandsRunThanThereAreSlots(t *testing.T) {
	var mu sync.Mutex
	now, most := 0, 0
	r, started, release := gate()
	counted := &fakeRunner{name: "counted", run: func(ctx context.Context, task runners.Task) (runners.Exit, error) {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		exit, err := r.run(ctx, task)
		mu.Lock()
		now--
		mu.Unlock()
		return exit, err
	}}
	b := start(t, withRunners(counted))
	const leases = 6
	for range leases {
		b.assign(b.lease(sh(""), noInputs))
	}
	<-started
	<-started
	for range leases {
		release <- struct{}{}
		b.completion()
	}
	if most != 2 {
		t.Errorf("%d commands ran at once in 2 slots", most)
	}
}

func TestTheRunnerIsTheOneThatThePropertyNames(t *testing.T) {
	named := func(name string) runners.Runner {
		return &fakeRunner{name: name, run: func(context.Context, runners.Task) (runners.Exit, error) {
			now := time.Now()
			return runners.Exit{Code: len(name), Started: now, Completed: now}, nil
		}}
	}
	one := start(t, withRunners(named("bubblewrap")))
	two := start(t, withRunners(named("bubblewrap"), named("hosttools")))
	for name, c := range map[string]struct {
		b        *bench
		property string
		want     string // "": refused, so that another worker may have it
	}{
		"named":                       {two, "bubblewrap", "bubblewrap"},
		"none: isolated":              {two, "", "bubblewrap"},
		"none: the only one":          {one, "", "bubblewrap"},
		"named, and not to be had":    {one, "hosttools", ""},
		"named, and nobody knows one": {two, "magic", ""},
	} {
		l := c.b.lease(sh(""), noInputs)
		if c.property != "" {
			l.Properties = append(l.Properties, runners.Property{Name: "runner", Value: c.property})
		}
		got := c.b.run(l)
		if c.want == "" && code.Code(got.Status.GetCode()) != code.Code_UNAVAILABLE {
			t.Errorf("%s: %v", name, got)
		}
		if c.want != "" && int(got.Result.GetExitCode()) != len(c.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestTroubleOfTheWorkerAsksForAnotherAttempt(t *testing.T) {
	for name, err := range map[string]error{
		"a runner that fails":                  errors.New("no more processes"),
		"a cancellation that nobody asked for": context.Canceled,
	} {
		b := start(t, withRunners(&fakeRunner{name: "x", run: func(context.Context, runners.Task) (runners.Exit, error) {
			return runners.Exit{}, err
		}}))
		if c := b.run(b.lease(sh(""), noInputs)); code.Code(c.Status.GetCode()) != code.Code_UNAVAILABLE || c.Result != nil {
			t.Errorf("%s: %v", name, c)
		}
	}
	b := start(t, nil)
	b.blobs.failPut = errors.New("disk full")
	if c := b.run(b.lease(sh("echo x"), noInputs)); code.Code(c.Status.GetCode()) != code.Code_UNAVAILABLE || c.Result != nil {
		t.Errorf("outputs that cannot be stored: %v", c)
	}
}
