package hosttools

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/shim"
)

// lifeArg makes the test binary a node that only runs commands, so that it can be
// killed: the life of an owner of shims.
const lifeArg = "run-a-command-until-killed"

// daemon holds the pipe "alive" from a session of its own, without a parent.
const daemon = `exec 9>alive
(setsid sh -c '(trap "" HUP TERM; echo >ready; exec sleep 1000) & exit' &)
while :; do sleep 1000; done`

func life(args []string) {
	r, err := New(Options{Dir: args[0]})
	if err != nil {
		panic(err)
	}
	_, err = r.Run(context.Background(), task(args[1], daemon))
	panic(err)
}

func task(dir, script string) runners.Task {
	return runners.Task{
		Dir: dir, Args: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"},
		Stdout: filepath.Join(dir, "stdout"), Stderr: filepath.Join(dir, "stderr"),
	}
}

// startLife starts another process whose runner, the owner of dir, runs the
// daemon. alive is a pipe that is at its end when none of the action lives.
func startLife(t *testing.T, dir string) (node *exec.Cmd, alive *os.File) {
	t.Helper()
	root := t.TempDir()
	ready, alive := mkfifo(t, root, "ready"), mkfifo(t, root, "alive")
	node = exec.Command("/proc/self/exe", lifeArg, dir, root)
	node.Stderr = os.Stderr
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = node.Process.Kill(); _ = node.Wait() })
	await(t, ready)
	return node, alive
}

// mkfifo makes a named pipe and opens it for reading without waiting for a
// writer, so that a writer does not wait, either. Read returns io.EOF while there
// is none.
func mkfifo(t *testing.T, dir, name string) *os.File {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// await waits for a line on a named pipe.
func await(t *testing.T, pipe *os.File) {
	t.Helper()
	f, err := os.OpenFile(pipe.Name(), os.O_RDWR, 0) // both: who wrote may be gone already
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := bufio.NewReader(f).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
}

// waitGone returns when nobody has the pipe open for writing.
func waitGone(t *testing.T, alive *os.File) {
	t.Helper()
	if _, err := io.Copy(io.Discard, alive); err != nil {
		t.Fatal(err)
	}
}

func TestNothingSurvivesANodeThatIsKilled(t *testing.T) {
	node, alive := startLife(t, t.TempDir())
	if err := node.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	waitGone(t, alive)
}

func TestTheNextLifeEndsWhatAKilledShimLeft(t *testing.T) {
	dir := t.TempDir()
	node, alive := startLife(t, dir)
	// As when everything of a service is killed at once: shims first, so that they
	// cannot clean up.
	for _, pid := range childrenOf(t, node.Process.Pid) {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		defer syscall.Kill(pid, syscall.SIGKILL)
	}
	if err := node.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// Another owner does not touch it.
	if _, err := newRunner(t, t.TempDir()).Run(context.Background(), task(t.TempDir(), "exit 0")); err != nil {
		t.Fatal(err)
	}
	if !held(t, alive) {
		t.Fatal("the runner of another owner ended it")
	}
	r := newRunner(t, dir)
	root := t.TempDir()
	if _, err := r.Run(context.Background(), task(root, "exit 0")); err != nil {
		t.Fatal(err)
	}
	if held(t, alive) {
		t.Error("a process of the earlier life runs beside the first command of the next")
	}
}

// held tells whether somebody has the pipe open for writing.
func held(t *testing.T, alive *os.File) bool {
	t.Helper()
	c, err := alive.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	var readErr error
	if err := c.Read(func(fd uintptr) bool {
		n, readErr = syscall.Read(int(fd), make([]byte, 100))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return readErr == syscall.EAGAIN || n > 0
}

func childrenOf(t *testing.T, pid int) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // a thread that has ended
		}
		for _, s := range strings.Fields(string(b)) {
			p, err := strconv.Atoi(s)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, p)
		}
	}
	if len(pids) == 0 {
		t.Fatal("the node has no shim")
	}
	return pids
}

func TestAKilledShimIsAnErrorThatAnotherAttemptMayHelp(t *testing.T) {
	r := newRunner(t, t.TempDir())
	root := t.TempDir()
	ready, alive := mkfifo(t, root, "ready"), mkfifo(t, root, "alive")
	done := make(chan error, 1)
	go func() {
		_, err := r.Run(context.Background(), task(root, daemon))
		done <- err
	}()
	await(t, ready)
	for _, pid := range childrenOf(t, os.Getpid()) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	err := <-done
	var failure *runners.Failure
	if !errors.Is(err, shim.ErrLost) || errors.As(err, &failure) {
		t.Errorf("error: %v", err)
	}
	waitGone(t, alive)
	exit, err := r.Run(context.Background(), task(root, "exit 7"))
	if err != nil || exit.Code != 7 {
		t.Errorf("the next command: %+v, %v", exit, err)
	}
}
