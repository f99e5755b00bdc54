package shim

import (
	"context"
	"testing"
	"time"
)

func script(text string) Request {
	return Request{Path: "/bin/sh", Args: []string{"sh", "-c", text}, Env: []string{"PATH=/usr/bin:/bin"}, Dir: "/"}
}

func newShim(t *testing.T) *Process {
	t.Helper()
	p, err := Start(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestOrphansThatEndAreReapedWhileTheCommandRuns(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := newShim(t).Run(ctx, script(`for i in 1 2 3 4 5 6 7 8; do (true &); done
		until [ $(cat /proc/$PPID/task/*/children | wc -w) = 1 ]; do sleep 0.01; done`))
	if err != nil || r.Killed || r.Status.ExitStatus() != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestOneShimRunsManyCommands(t *testing.T) {
	p := newShim(t)
	for code := range 50 {
		req := script("exit $1")
		req.Args = append(req.Args, "sh", string(rune('0'+code%10)))
		r, err := p.Run(context.Background(), req)
		if err != nil || r.Status.ExitStatus() != code%10 || r.Left != 0 {
			t.Fatalf("command %d: %+v, %v", code, r, err)
		}
	}
}

// TestAKillThatComesLateHitsNothing cancels each command at about the moment that
// it ends: the next one must never feel it.
func TestAKillThatComesLateHitsNothing(t *testing.T) {
	p := newShim(t)
	for range 100 {
		ctx, cancel := context.WithCancel(context.Background())
		go cancel()
		r, err := p.Run(ctx, script("exit 0"))
		cancel()
		if err != nil {
			t.Fatalf("%+v, %v", r, err)
		}
		if r, err := p.Run(context.Background(), script("exit 5")); err != nil || r.Killed || r.Status.ExitStatus() != 5 {
			t.Fatalf("the next: %+v, %v", r, err)
		}
	}
}

func TestARequestThatIsTooLongIsRefusedByTheSender(t *testing.T) {
	p := newShim(t)
	r, err := p.Run(context.Background(), Request{Path: "/bin/true", Args: []string{string(make([]byte, maxFrame))}, Dir: "/"})
	if err != nil || r.Errno == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := p.Run(context.Background(), script("exit 0")); err != nil || r.Errno != 0 {
		t.Errorf("the next: %+v, %v", r, err)
	}
}
