// Package hosttools runs actions in their input root with the tools of the host,
// as this process's user and without isolation. Whole process trees end with
// their action, see package shim.
package hosttools

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/shim"
)

// Name is the value of the platform property "runner" that asks for this runner.
const Name = "hosttools"

// Options of New.
type Options struct {
	// Dir stands for the owner of the processes that this runner starts: when the
	// owner's next life makes a runner with the same Dir, those that a killed shim
	// left behind are killed. "" leaves them. When it is the directory of a worker,
	// New refuses one that a worker is using.
	Dir    string
	Logger *slog.Logger // nil: slog.Default
}

// Runner is a runners.Runner. It keeps as many shims as commands ran at once.
type Runner struct {
	shims *pool
	log   *slog.Logger
}

var _ runners.Runner = (*Runner)(nil)

// New returns a runner. It returns at once; processes of an earlier life are
// ended before the first command starts.
func New(o Options) (*Runner, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if _, err := os.Stat("/proc/self/exe"); err != nil {
		return nil, fmt.Errorf("find this program in /proc: %w", err)
	}
	if o.Dir != "" {
		if err := runners.CheckUnused(o.Dir); err != nil {
			return nil, err
		}
	}
	return &Runner{shims: newPool(o), log: o.Logger}, nil
}

// Name implements runners.Runner.
func (r *Runner) Name() string { return Name }

// Close ends the shims. Commands that still run keep theirs until they end.
func (r *Runner) Close() error { return r.shims.close() }

// Run implements runners.Runner. A root file system as input root is a
// *runners.Failure: see refuseRootFS.
func (r *Runner) Run(ctx context.Context, t runners.Task) (runners.Exit, error) {
	if err := refuseRootFS(t); err != nil {
		return runners.Exit{}, err
	}
	path, denied := lookPath(t)
	if denied != nil {
		return denied.exit(t)
	}
	reply, err := r.start(ctx, shim.Request{
		Path: path, Args: t.Args, Env: t.Env, Dir: filepath.Join(t.Dir, t.WorkingDir),
		Stdout: t.Stdout, Stderr: t.Stderr, Timeout: t.Timeout,
	})
	if err != nil {
		return runners.Exit{}, err
	}
	if ctx.Err() != nil {
		return runners.Exit{}, ctx.Err()
	}
	if reply.Errno != 0 {
		return notStarted(t, path, reply)
	}
	return exitOf(reply), nil
}

// start runs the request on a free shim, again where the kernel's answer says
// that another way or moment will do.
func (r *Runner) start(ctx context.Context, req shim.Request) (shim.Reply, error) {
	p, err := r.shims.get(ctx)
	if err != nil {
		return shim.Reply{}, err
	}
	reply, err := p.Run(ctx, req)
	if err == nil && reply.Errno != 0 {
		reply, err = again(ctx, p, req, reply)
	}
	r.shims.put(p, err)
	if err != nil {
		return shim.Reply{}, fmt.Errorf("run command: %w", err)
	}
	return reply, nil
}

// again tries once more what failed with ETXTBSY, since a file of the input root
// may for a moment be open in a process that is between its fork and its exec,
// and with ENOEXEC, which is a script without a first line that names its
// interpreter: execvp(3) hands it to the shell.
func again(ctx context.Context, p *shim.Process, req shim.Request, reply shim.Reply) (shim.Reply, error) {
	var err error
	const tries = 10
	for i := 0; i < tries && err == nil && reply.Errno == syscall.ETXTBSY; i++ {
		select {
		case <-ctx.Done():
			return reply, nil
		case <-time.After(10 * time.Millisecond):
		}
		reply, err = p.Run(ctx, req)
	}
	if err == nil && reply.Errno == syscall.ENOEXEC && isText(req) {
		req.Args = append([]string{"/bin/sh", req.Path}, req.Args[1:]...)
		if strings.HasPrefix(req.Path, "-") {
			req.Args[1] = "./" + req.Path
		}
		req.Path = "/bin/sh"
		reply, err = p.Run(ctx, req)
	}
	return reply, err
}

func exitOf(r shim.Reply) runners.Exit {
	code := r.Status.ExitStatus()
	if r.Status.Signaled() {
		code = 128 + int(r.Status.Signal())
	}
	if r.TimedOut {
		code = 128 + int(syscall.SIGKILL)
	}
	const block = 512
	return runners.Exit{
		Code: code, TimedOut: r.TimedOut,
		Started: time.Unix(0, r.Started), Completed: time.Unix(0, r.Completed),
		Usage: runners.Usage{
			User: r.User, System: r.System, MaxRSS: r.MaxRSS,
			MinorFaults: r.MinorFaults, MajorFaults: r.MajorFaults,
			ReadBytes: r.BlocksIn * block, WrittenBytes: r.BlocksOut * block,
			VoluntarySwitches: r.VoluntarySwitches, InvoluntarySwitches: r.InvoluntarySwitches,
		},
	}
}
