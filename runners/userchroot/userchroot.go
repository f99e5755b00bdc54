// Package userchroot runs actions in a directory tree that the action names by
// the platform property chrootRootDigest. The worker lays that tree out once for
// all, and the input root over it; here it becomes the root directory, read-only
// but for what is the action's own, in namespaces that this program makes itself:
// no set-user-ID helper, no other program. See ../SANDBOXES.md.
package userchroot

import (
	"bytes"
	"cmp"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/cgroup"
	"github.com/bgrid-node/bgrid-node/runners/launch"
	"github.com/bgrid-node/bgrid-node/runners/props"
	"github.com/bgrid-node/bgrid-node/runners/shim"
)

// Name is the value of the platform property "runner" that asks for this runner.
const Name = "userchroot"

// Options of New.
type Options struct {
	// Dir stands for the owner of the processes that this runner starts, as that of
	// hosttools does.
	Dir string
	// Scratch is where overlays are tried out, in the file system that tasks will be
	// in; "" is Dir.
	Scratch string
	Groups  *cgroup.Manager // for limits; nil: none
	Logger  *slog.Logger    // nil: slog.Default
}

// Runner is a runners.Runner.
type Runner struct {
	machine machine
	offline *launch.Launcher // for actions without the host's network
	online  *launch.Launcher
	found   launch.Sandbox
}

var (
	_ runners.Runner   = (*Runner)(nil)
	_ runners.Layering = (*Runner)(nil)
)

// New tries out what this machine allows. It fails when no namespaces can be made
// here, and says why.
func New(o Options) (*Runner, error) {
	if o.Dir != "" {
		if err := runners.CheckUnused(o.Dir); err != nil {
			return nil, err
		}
	}
	r := &Runner{}
	return r, r.settle(o)
}

// Name implements runners.Runner.
func (r *Runner) Name() string { return Name }

// Overlays implements runners.Layering.
func (r *Runner) Overlays() bool { return r.found.Overlay == nil }

// Chroots implements runners.Layering.
func (r *Runner) Chroots() bool { return true }

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
	if t.Layers == nil {
		return runners.Exit{}, runners.Unfit("the runner %s needs a chroot", Name)
	}
	launcher := r.offline
	if want.Network {
		launcher = r.online
	}
	plan := planOf(r.machine, t, want)
	req, err := r.request(t, plan, want)
	if err != nil {
		return runners.Exit{}, err
	}
	reply, err := launcher.Run(ctx, req, t.Limits)
	if err != nil {
		return runners.Exit{}, err
	}
	return outcome(t, reply)
}

// request starts this program again, as the first process of the sandbox.
func (r *Runner) request(t runners.Task, p plan, want props.Sandbox) (shim.Request, error) {
	var spec bytes.Buffer
	if err := gob.NewEncoder(&spec).Encode(p); err != nil { // not JSON: names need not be UTF-8
		return shim.Request{}, fmt.Errorf("describe sandbox: %w", err)
	}
	req := shim.Request{
		Path: "/proc/self/exe", Args: []string{argv0}, Env: innerEnvironment(), Dir: "/",
		Stdout: t.Stdout, Stderr: t.Stderr, Timeout: t.Timeout, Status: true, Spec: spec.Bytes(),
		Namespaces: namespaces, InnerUser: want.UID, InnerGroup: want.GID,
	}
	if p.OwnNet {
		req.Namespaces |= unix.CLONE_NEWNET
	}
	if t.Layers.Lower != "" {
		req.Overlay = &shim.Overlay{
			Lower: t.Layers.Lower, Upper: t.Dir, Work: filepath.Join(t.Layers.Scratch, "work"), Merged: p.Root,
			Dirs: append(append([]string(nil), mountPoints[:]...), t.Layers.Dirs...),
		}
		return req, nil
	}
	for _, dir := range mountPoints {
		if err := os.Mkdir(filepath.Join(t.Dir, dir), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return req, fmt.Errorf("make mount point: %w", err)
		}
	}
	return req, nil
}

const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// innerEnvironment keeps the first process small.
func innerEnvironment() []string { return []string{"GOMAXPROCS=1", "GOGC=off", "GOTRACEBACK=none"} }

// outcome reads what the first process noted before it ended.
func outcome(t runners.Task, reply shim.Reply) (runners.Exit, error) {
	if reply.Errno != 0 {
		return launch.NotStarted(t, argv0, reply)
	}
	if reply.TimedOut || reply.OutputExceeded {
		return launch.ExitOf(reply, t.Limits), nil
	}
	kind, text, _ := strings.Cut(reply.Note, " ")
	if kind == noteExit {
		status, err := strconv.ParseUint(text, 10, 32)
		if err == nil {
			reply.Status = syscall.WaitStatus(status)
			return launch.ExitOf(reply, t.Limits), nil
		}
	}
	if reply.OutOfMemory {
		return launch.ExitOf(reply, t.Limits), nil
	}
	reply.CloseRoot()
	switch kind {
	case noteDenied:
		code, text, _ := strings.Cut(text, " ")
		if n, err := strconv.Atoi(code); err == nil {
			return (&launch.Denial{Code: n, Text: text}).Exit(t)
		}
	case noteUnfit:
		return runners.Exit{}, runners.Unfit("%s", text)
	case noteFailed:
		return runners.Exit{}, fmt.Errorf("make sandbox: %s", text)
	}
	return runners.Exit{}, fmt.Errorf("the first process of the sandbox ended (%v)", reply.Status)
}

// settle finds what works here, the cheapest first.
func (r *Runner) settle(o Options) (err error) {
	var last error
	for _, isolation := range []shim.Isolation{{Mounts: true, Network: true}, {}} {
		for _, boundProc := range []bool{false, true} {
			r.machine = machine{boundProc: boundProc, ownNet: !isolation.Network}
			if last = r.tryOut(o, isolation); last == nil {
				return nil
			}
		}
	}
	return fmt.Errorf("no sandbox can be made here: %w; is this a container without the right to make user namespaces?", last)
}

func (r *Runner) tryOut(o Options, isolation shim.Isolation) (err error) {
	owner := func(kind string) string {
		if o.Dir == "" {
			return ""
		}
		return o.Dir + "\x00userchroot-" + kind
	}
	r.offline, err = launch.New(launch.Options{Owner: owner("offline"), Isolation: isolation.For(os.Geteuid()), Groups: o.Groups, Logger: o.Logger})
	if err != nil {
		return err
	}
	online := shim.Isolation{Mounts: isolation.Mounts}
	r.online, err = launch.New(launch.Options{Owner: owner("online"), Isolation: online.For(os.Geteuid()), Groups: o.Groups, Logger: o.Logger})
	if err != nil {
		return errors.Join(err, r.offline.Close())
	}
	const probeTime = 20 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	if err := r.probe(ctx); err != nil {
		return errors.Join(err, r.Close())
	}
	r.found = launch.Sandbox{FreshProc: !r.machine.boundProc, SharedNetwork: isolation.Network, Overlay: launch.ErrNoMounts}
	if isolation.Mounts {
		r.found.Overlay = launch.ProbeOverlay(ctx, r.offline, cmp.Or(o.Scratch, o.Dir))
	}
	return nil
}

// probe makes a sandbox around an empty directory and runs nothing in it.
func (r *Runner) probe(ctx context.Context) error {
	base, err := os.MkdirTemp("", "bgrid-probe")
	if err != nil {
		return fmt.Errorf("try out a sandbox: %w", err)
	}
	defer os.RemoveAll(base)
	t := runners.Task{Dir: base, Args: []string{"/none"}, Layers: &runners.Layers{}, Stderr: filepath.Join(base, "stderr"), Stdout: filepath.Join(base, "stdout")}
	req, err := r.request(t, planOf(r.machine, t, props.Sandbox{}), props.Sandbox{})
	if err != nil {
		return err
	}
	reply, err := r.offline.Run(ctx, req, runners.Limits{})
	if err != nil {
		return err
	}
	if reply.Errno != 0 {
		return reply.Errno
	}
	if !strings.HasPrefix(reply.Note, noteDenied) { // which comes when all is mounted
		return errors.New(reply.Note)
	}
	return nil
}
