// Package launch is what all runners share: it finds a command's program as
// execvp(3) would, starts it through a pool of shims, and turns what the shim
// answers into the Exit of an action.
package launch

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/cgroup"
	"github.com/bgrid-node/bgrid-node/runners/shim"
)

// Options of New.
type Options struct {
	// Owner stands for the owner of the processes that are started: when the owner's
	// next life makes a Launcher with the same one, those that a killed shim left
	// behind are killed. "" leaves them.
	Owner     string
	Isolation shim.Isolation // of each shim
	// Groups makes control groups for limits; nil: the limits that there are without.
	Groups *cgroup.Manager
	Logger *slog.Logger // nil: slog.Default
}

// Launcher runs commands on shims. It keeps as many as commands ran at once.
type Launcher struct{ shims *pool }

// New returns at once; processes of an earlier life are ended before the first
// command starts.
func New(o Options) (*Launcher, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if _, err := os.Stat("/proc/self/exe"); err != nil {
		return nil, fmt.Errorf("find this program in /proc: %w", err)
	}
	return &Launcher{shims: newPool(o)}, nil
}

// Close ends the shims. Commands that still run keep theirs until they end.
func (l *Launcher) Close() error { return l.shims.close() }

// Run runs the request on a free shim, within limits, and again where the kernel's
// answer says that another way or moment will do. When ctx ends the command is
// killed, and the error is ctx's.
func (l *Launcher) Run(ctx context.Context, req shim.Request, limits runners.Limits) (shim.Reply, error) {
	m, err := l.shims.get(ctx)
	if err != nil {
		return shim.Reply{}, err
	}
	if err := m.limit(&req, limits); err != nil {
		l.shims.put(m, nil)
		return shim.Reply{}, err
	}
	killed := m.oomKills(limits)
	reply, err := m.Run(ctx, req)
	if err == nil && reply.Errno != 0 {
		reply, err = again(ctx, m.Process, req, reply)
	}
	if err == nil {
		reply.OutOfMemory = m.oomKills(limits) > killed
	}
	l.shims.put(m, err)
	if err != nil {
		return shim.Reply{}, fmt.Errorf("run command: %w", err)
	}
	if err := ctx.Err(); err != nil {
		reply.CloseRoot()
		return shim.Reply{}, err
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

// ExitOf says how a command that was started has ended.
func ExitOf(r shim.Reply, limits runners.Limits) runners.Exit {
	code := r.Status.ExitStatus()
	if r.Status.Signaled() {
		code = signalBase + int(r.Status.Signal())
	}
	if r.TimedOut || r.OutputExceeded {
		code = signalBase + int(syscall.SIGKILL)
	}
	const block = 512
	return runners.Exit{
		Code: code, TimedOut: r.TimedOut, Root: r.Root, Exceeded: exceeded(limits, r, code),
		Started: time.Unix(0, r.Started), Completed: time.Unix(0, r.Completed),
		Usage: runners.Usage{
			User: r.User, System: r.System, MaxRSS: r.MaxRSS,
			MinorFaults: r.MinorFaults, MajorFaults: r.MajorFaults,
			ReadBytes: r.BlocksIn * block, WrittenBytes: r.BlocksOut * block,
			VoluntarySwitches: r.VoluntarySwitches, InvoluntarySwitches: r.InvoluntarySwitches,
		},
	}
}

// signalBase and the signal's number is the exit code of what a signal ended.
const signalBase = 128
