package raftfsm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/queue"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// crashDir is the environment variable that makes the test binary a child that is
// to be killed.
const crashDir = "RAFTFSM_CRASH_DIR"

// crashChild runs jobs in a directory until it is killed, and writes a line for
// each step once it was acknowledged.
func crashChild(dir string) {
	fail := func(err error) {
		fmt.Println("error", err)
		os.Exit(1)
	}
	ctx := context.Background()
	q, err := queue.Open(ctx, queue.Options{Path: filepath.Join(dir, "queue.db"), Logger: quiet()})
	if err != nil {
		fail(err)
	}
	l, err := OpenLocal(ctx, LocalOptions{Queue: q, ActionCache: &fakeCache{}, Logger: quiet()})
	if err != nil {
		fail(err)
	}
	propose := func(step, name string, e *commandpb.Entry) {
		r, err := l.Propose(ctx, e)
		if err = errors.Join(append(r.Errors, err)...); err != nil {
			fail(err)
		}
		fmt.Println(step, name) // one write
	}
	s := uuid.NewString()
	propose("open", s, OpenSession(&queuepb.OpenSession{SessionId: s, BotId: "bot"}))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				name := uuid.NewString()
				propose("submit", name, Submit(submission(name)))
				propose("assign", name, Assign(&queuepb.Assign{JobId: "job-" + name, Attempt: 1, SessionId: s}))
				propose("complete", name, Complete(completion(name, 1, s)))
			}
		})
	}
	wg.Wait()
}

// TestKilledInTheMiddleNothingAcknowledgedIsLost kills a process with SIGKILL while
// it commits, again and again on the same files.
func TestKilledInTheMiddleNothingAcknowledgedIsLost(t *testing.T) {
	dir := t.TempDir()
	reached := map[string]queue.Stage{}
	for round := range 6 {
		killOne(t, dir, 60+40*round, reached)
		q := openQueue(t, dir)
		if err := q.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		for name, stage := range reached {
			_, j, err := q.Operation(t.Context(), "op-"+name)
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			if j.Stage < stage { // further is fine: not everything was acknowledged
				t.Errorf("round %d: job %s is at stage %d, %d was acknowledged", round, name, j.Stage, stage)
			}
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killOne runs a child, kills it after some lines, and notes how far each job came.
func killOne(t *testing.T, dir string, lines int, reached map[string]queue.Stage) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stages := map[string]queue.Stage{"submit": queue.Queued, "assign": queue.Executing, "complete": queue.Completed}
	read := 0
	for in := bufio.NewScanner(out); in.Scan(); {
		step, name, _ := strings.Cut(in.Text(), " ")
		if step == "error" {
			t.Error(in.Text())
		}
		if stage := stages[step]; stage != 0 {
			reached[name] = stage
		}
		if read++; read == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || read < lines {
		t.Fatalf("the child ended by itself after %d lines: %v", read, err)
	}
}
