// Package runnertest is the conformance suite of runners.Runner: what each
// implementation must do, on real processes and files. The binary of a test that
// calls it needs a TestMain that begins with shim.MaybeRun.
package runnertest

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/bgrid-node/bgrid-node/runners"
)

// RunAll runs the whole suite. factory makes a runner and closes it in a Cleanup
// of the test that it is given. variables names those that the runner's tools set
// in the environment whatever the command says: none, or PWD.
func RunAll(t *testing.T, factory func(t *testing.T) runners.Runner, variables ...string) {
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"exit", exitTests}, {"surroundings", surroundingsTests}, {"streams", streamTests},
		{"program", programTests}, {"subtrees", subtreeTests}, {"end", endTests}, {"many", manyTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, c := range group.tests {
				t.Run(c.name, func(t *testing.T) {
					r := newRig(t, factory(t))
					r.variables = variables
					c.do(r)
				})
			}
		})
	}
}

type test struct {
	name string
	do   func(r *rig)
}

// rig is a runner with a directory to run in.
type rig struct {
	*testing.T
	runner runners.Runner
	dir    string // the input root
	out    string // directory of stdout and stderr

	variables []string // see RunAll
}

func newRig(t *testing.T, runner runners.Runner) *rig {
	t.Helper()
	base := t.TempDir()
	r := &rig{T: t, runner: runner, dir: filepath.Join(base, "root"), out: filepath.Join(base, "out")}
	for _, d := range []string{r.dir, r.out} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// outcome is how a command ended, with what it wrote.
type outcome struct {
	runners.Exit
	stdout, stderr string
}

func (r *rig) task(args ...string) runners.Task {
	return runners.Task{
		LeaseID: "lease", Dir: r.dir, Args: args, Env: []string{"PATH=/usr/bin:/bin"},
		Stdout: filepath.Join(r.out, "stdout"), Stderr: filepath.Join(r.out, "stderr"),
	}
}

func (r *rig) sh(script string) runners.Task { return r.task("/bin/sh", "-c", script) }

// run runs what must run.
func (r *rig) run(t runners.Task) outcome {
	r.Helper()
	exit, err := r.runner.Run(context.Background(), t)
	if err != nil {
		r.Fatalf("run %q: %v", t.Args, err)
	}
	return outcome{Exit: exit, stdout: r.read(t.Stdout), stderr: r.read(t.Stderr)}
}

func (r *rig) read(path string) string {
	r.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		r.Fatal(err)
	}
	return string(b)
}

func (r *rig) write(name, content string, mode os.FileMode) {
	r.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		r.Fatal(err)
	}
}

// wantExit runs a task and checks its exit code and stdout.
func (r *rig) wantExit(t runners.Task, code int, stdout string) {
	r.Helper()
	o := r.run(t)
	if o.Code != code || o.stdout != stdout || o.TimedOut {
		r.Errorf("exit code %d, want %d; stdout %q, want %q; timed out: %t; stderr %q", o.Code, code, o.stdout, stdout, o.TimedOut, o.stderr)
	}
}

// pipe is a named pipe in the input root: how a test and its processes wait for
// each other, and how it sees who lives.
type pipe struct {
	r    *rig
	path string
	fd   int // open for reading, without waiting
}

func (r *rig) pipe(name string) *pipe {
	r.Helper()
	p := &pipe{r: r, path: filepath.Join(r.dir, name)}
	if err := syscall.Mkfifo(p.path, 0o666); err != nil {
		r.Fatal(err)
	}
	var err error
	if p.fd, err = syscall.Open(p.path, syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { syscall.Close(p.fd) })
	return p
}

// await waits until a line comes.
func (p *pipe) await() {
	p.r.Helper()
	f, err := os.OpenFile(p.path, os.O_RDWR, 0) // both: who wrote may be gone already
	if err != nil {
		p.r.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Read(make([]byte, 1)); err != nil {
		p.r.Fatalf("wait for a process: %v", err)
	}
}

// wantNobody checks that no process has the pipe open for writing.
func (p *pipe) wantNobody() {
	p.r.Helper()
	buf := make([]byte, 4096)
	for {
		n, err := syscall.Read(p.fd, buf)
		switch {
		case err == syscall.EINTR || n > 0: // what was written before
		case err == syscall.EAGAIN:
			p.r.Error("a process that the action started lives on")
			return
		case err != nil:
			p.r.Fatal(err)
		default:
			return
		}
	}
}

// start runs a task in the background; the channel gives its error.
func (r *rig) start(ctx context.Context, t runners.Task) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := r.runner.Run(ctx, t)
		done <- err
	}()
	return done
}

func (r *rig) wantCancelled(err error) {
	r.Helper()
	if !errors.Is(err, context.Canceled) {
		r.Errorf("a cancelled run ended with %v", err)
	}
}

// copyFile copies a program of the host into the input root.
func (r *rig) copyFile(from, name string) {
	r.Helper()
	in, err := os.Open(from)
	if err != nil {
		r.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(r.dir, name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		r.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		r.Fatal(err)
	}
	if err := out.Close(); err != nil {
		r.Fatal(err)
	}
}
