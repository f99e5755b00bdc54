// Package bubblewrap runs actions in namespaces of their own, by the program
// bwrap. An input root that is a root file system becomes the root directory;
// otherwise the host's files are there read-only, and the input root among them.
// See ../DESIGN.md and ../SANDBOXES.md.
package bubblewrap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/cgroup"
	"github.com/bgrid-node/bgrid-node/runners/launch"
	"github.com/bgrid-node/bgrid-node/runners/props"
	"github.com/bgrid-node/bgrid-node/runners/shim"
)

// Name is the value of the platform property "runner" that asks for this runner.
const Name = "bubblewrap"

// Options of New.
type Options struct {
	// Dir stands for the owner of the processes that this runner starts, as that of
	// hosttools does; actions do not see it.
	Dir string
	// Hide lists more directories of the host that actions do not see; those that
	// are not there are left out.
	Hide []string
	// Scratch is where overlays are tried out, in the file system that tasks will be
	// in; "" is Dir.
	Scratch string
	Groups  *cgroup.Manager // for limits; nil: none
	Logger  *slog.Logger    // nil: slog.Default
}

// Runner is a runners.Runner.
type Runner struct {
	bwrap   string // path of the program
	machine machine
	offline *launch.Launcher // for actions without the host's network
	online  *launch.Launcher
	found   launch.Sandbox
}

var (
	_ runners.Runner   = (*Runner)(nil)
	_ runners.Layering = (*Runner)(nil)
)

// ErrNoProgram is wrapped by New's error when bwrap is not installed.
var ErrNoProgram = errors.New("the program bwrap is not in PATH: install it (Debian, Fedora: package bubblewrap)")

// New tries out what this machine allows, which takes some 10 ms. It fails when
// no sandbox can be made here, and says why.
func New(o Options) (*Runner, error) {
	if o.Dir != "" {
		if err := runners.CheckUnused(o.Dir); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(o.Dir, 0o700); err != nil { // what is not there cannot be hidden
			return nil, fmt.Errorf("make work directory: %w", err)
		}
	}
	path, err := exec.LookPath("bwrap")
	if err != nil {
		return nil, ErrNoProgram
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("find bwrap: %w", err)
	}
	r := &Runner{bwrap: path, machine: thisMachine(append([]string{o.Dir}, o.Hide...))}
	return r, r.settle(o)
}

// Name implements runners.Runner.
func (r *Runner) Name() string { return Name }

// Overlays implements runners.Layering.
func (r *Runner) Overlays() bool { return r.found.Overlay == nil }

// Chroots implements runners.Layering.
func (r *Runner) Chroots() bool { return false }

// Findings says what this machine can and cannot do for this runner.
func (r *Runner) Findings() []runners.Finding { return r.found.Findings() }

// Close ends the shims. Commands that still run keep theirs until they end.
func (r *Runner) Close() error { return errors.Join(r.offline.Close(), r.online.Close()) }

// Run implements runners.Runner.
func (r *Runner) Run(ctx context.Context, t runners.Task) (runners.Exit, error) {
	want, err := props.Read(t.Properties)
	if err != nil {
		return runners.Exit{}, err
	}
	files := filesOf(t)
	s := sandbox{root: files.root, workingDir: t.WorkingDir, socket: t.Socket, subtrees: t.Subtrees, Sandbox: want}
	s.isRootFS = runners.RootFSMark(files.look, t.Args[0]) != ""
	s.keepTmp = s.isRootFS && files.hasTmp(t)
	view := launch.View(launch.Host(filepath.Join(t.Dir, t.WorkingDir)))
	if s.isRootFS {
		view = launch.Inside{Root: files.look, WorkingDir: t.WorkingDir}
	}
	program, denied := programOf(view, t)
	if denied != nil {
		return denied.Exit(t)
	}
	if s.isRootFS {
		defer files.tidy(files.missing())
	}
	if isLong(t) {
		if s.script, err = writeScript(t, program); err != nil {
			return runners.Exit{}, err
		}
		defer os.Remove(s.script)
	}
	return r.start(ctx, t, r.request(t, s, files, program), r.launcherFor(want))
}

// start runs the request, again where the program was for a moment open in another
// process that was between its fork and its exec.
func (r *Runner) start(ctx context.Context, t runners.Task, req shim.Request, l *launch.Launcher) (runners.Exit, error) {
	for range busyTries {
		reply, err := l.Run(ctx, req, t.Limits)
		if err != nil {
			return runners.Exit{}, err
		}
		exit, err := outcome(t, reply)
		if !errors.Is(err, errBusy) {
			return exit, err
		}
		if req.Overlay != nil {
			break // it cannot be mounted twice; another attempt will find it idle
		}
		select {
		case <-ctx.Done():
			return runners.Exit{}, ctx.Err()
		case <-time.After(busyWait):
		}
	}
	return runners.Exit{}, errBusy
}

const (
	busyTries = 20
	busyWait  = 10 * time.Millisecond
)

// errBusy is ETXTBSY.
var errBusy = errors.New("the program is being written")

func (r *Runner) launcherFor(want props.Sandbox) *launch.Launcher {
	if want.Network {
		return r.online
	}
	return r.offline
}

// request has a limited number of options by argument, the rest in the file.
func (r *Runner) request(t runners.Task, s sandbox, f files, program string) shim.Request {
	args := []string{"bwrap", "--args", strconv.Itoa(shim.SpecFD), "--"}
	if s.script != "" {
		args = append(args, shell, scriptPath)
	} else {
		args = append(append(args, program), t.Args[1:]...)
	}
	return shim.Request{
		Path: r.bwrap, Args: args, Dir: "/",
		Stdout: t.Stdout, Stderr: t.Stderr, Timeout: t.Timeout,
		Status: true, Spec: pack(arguments(r.machine, s), environment(t.Env)),
		Overlay: f.overlay(t),
	}
}

// programOf returns what bwrap shall execute: it searches PATH itself where the
// command has one, so that the command's argument 0 is what the client gave.
func programOf(v launch.View, t runners.Task) (string, *launch.Denial) {
	if isLong(t) {
		if denied := tooLong(v, t); denied != nil {
			return "", denied
		}
	}
	program, denied := launch.LookPath(v, t.Args[0], t.Env)
	if denied != nil {
		return "", denied
	}
	if launch.IsGarbage(v, program) {
		return "", &launch.Denial{Code: 126, Text: program + ": cannot execute: malformed program"}
	}
	if _, set := launch.PathOf(t.Env); set {
		return t.Args[0], nil
	}
	return program, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
