// Package hosttools runs actions in their input root with the tools of the host,
// as this process's user and without isolation. Whole process trees end with
// their action, see package shim.
package hosttools

import (
	"context"
	"log/slog"
	"path/filepath"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/cgroup"
	"github.com/bgrid-node/bgrid-node/runners/launch"
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
	Groups *cgroup.Manager // for limits; nil: none
	Logger *slog.Logger    // nil: slog.Default
}

// Runner is a runners.Runner. It keeps as many shims as commands ran at once.
type Runner struct{ launcher *launch.Launcher }

var _ runners.Runner = (*Runner)(nil)

// New returns a runner. It returns at once; processes of an earlier life are
// ended before the first command starts.
func New(o Options) (*Runner, error) {
	if o.Dir != "" {
		if err := runners.CheckUnused(o.Dir); err != nil {
			return nil, err
		}
	}
	launcher, err := launch.New(launch.Options{Owner: o.Dir, Groups: o.Groups, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	return &Runner{launcher: launcher}, nil
}

// Name implements runners.Runner.
func (r *Runner) Name() string { return Name }

// Close ends the shims. Commands that still run keep theirs until they end.
func (r *Runner) Close() error { return r.launcher.Close() }

// Run implements runners.Runner. A root file system as input root is a
// *runners.Failure: see refuseRootFS.
func (r *Runner) Run(ctx context.Context, t runners.Task) (runners.Exit, error) {
	if err := refuseRootFS(t); err != nil {
		return runners.Exit{}, err
	}
	path, denied := launch.LookPath(launch.Host(filepath.Join(t.Dir, t.WorkingDir)), t.Args[0], t.Env)
	if denied != nil {
		return denied.Exit(t)
	}
	reply, err := r.launcher.Run(ctx, shim.Request{
		Path: path, Args: t.Args, Env: t.Env, Dir: filepath.Join(t.Dir, t.WorkingDir),
		Stdout: t.Stdout, Stderr: t.Stderr, Timeout: t.Timeout,
	}, t.Limits)
	if err != nil {
		return runners.Exit{}, err
	}
	if reply.Errno != 0 {
		return launch.NotStarted(t, path, reply)
	}
	return launch.ExitOf(reply, t.Limits), nil
}
