package bubblewrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/launch"
	"github.com/bgrid-node/bgrid-node/runners/props"
	"github.com/bgrid-node/bgrid-node/runners/shim"
)

// thisMachine looks at the host's files.
func thisMachine(hide []string) machine {
	m := machine{root: os.Geteuid() == 0, varTmp: isDir("/var/tmp")}
	for _, dir := range []string{"/run/current-system", "/run/opengl-driver"} { // NixOS has its tools there
		if exists(dir) {
			m.keepRun = append(m.keepRun, dir)
		}
	}
	for _, dir := range hide {
		if dir == "" {
			continue
		}
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dir = real
		}
		if abs, err := filepath.Abs(dir); err == nil && isDir(abs) && abs != "/" {
			m.hide = append(m.hide, abs)
		}
	}
	return m
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// settle finds the cheapest way that works here, and keeps its launchers. A shim
// with a network of its own saves each action the making of one.
func (r *Runner) settle(o Options) error {
	var reasons []string
	for _, isolation := range []shim.Isolation{{Mounts: true, Network: true}, {}} {
		for _, boundProc := range []bool{false, true} {
			m := r.machine
			m.boundProc, m.ownNet = boundProc, !isolation.Network
			err := r.tryOut(o, m, isolation.For(os.Geteuid()))
			if err == nil {
				return nil
			}
			reasons = append(reasons, err.Error())
			if strings.Contains(err.Error(), "start shim") {
				break // /proc has nothing to do with it
			}
		}
	}
	return fmt.Errorf("no sandbox can be made here: %s; is this a container without the right to make user namespaces?", reasons[len(reasons)-1])
}

// tryOut makes the launchers for one way and keeps them when a command runs.
func (r *Runner) tryOut(o Options, m machine, isolation shim.Isolation) (err error) {
	owner := func(kind string) string {
		if o.Dir == "" {
			return ""
		}
		return o.Dir + "\x00bubblewrap-" + kind
	}
	r.machine = m
	r.offline, err = launch.New(launch.Options{Owner: owner("offline"), Isolation: isolation, Groups: o.Groups, Logger: o.Logger})
	if err != nil {
		return err
	}
	online := shim.Isolation{Mounts: isolation.Mounts}
	r.online, err = launch.New(launch.Options{Owner: owner("online"), Isolation: online.For(os.Geteuid()), Groups: o.Groups, Logger: o.Logger})
	if err != nil {
		return errors.Join(err, r.offline.Close())
	}
	if err = r.probe(); err != nil {
		return errors.Join(err, r.Close())
	}
	r.found = launch.Sandbox{FreshProc: !m.boundProc, SharedNetwork: isolation.Network, Overlay: launch.ErrNoMounts}
	if isolation.Mounts {
		ctx, cancel := context.WithTimeout(context.Background(), probeTime)
		defer cancel()
		r.found.Overlay = launch.ProbeOverlay(ctx, r.offline, cmp.Or(o.Scratch, o.Dir))
	}
	return nil
}

// probeTime is ample for a command that does nothing.
const probeTime = 20 * time.Second

func (r *Runner) probe() error {
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	dir, err := os.MkdirTemp("", "bgrid-probe")
	if err != nil {
		return fmt.Errorf("try out bwrap: %w", err)
	}
	defer os.RemoveAll(dir)
	stderr := filepath.Join(dir, "stderr")
	// Without --die-with-parent's like nothing differs from what actions get.
	s := sandbox{root: dir, Sandbox: props.Sandbox{}}
	reply, err := r.offline.Run(ctx, shim.Request{
		Path: r.bwrap, Args: []string{"bwrap", "--args", fmt.Sprint(shim.SpecFD), "--", "/proc/self/exe", "--version"}, Dir: "/",
		Stderr: stderr, Status: true, Spec: pack(arguments(r.machine, s)),
	}, runners.Limits{})
	if err != nil {
		return err
	}
	if reply.Errno != 0 {
		return reply.Errno
	}
	if reply.Status.ExitStatus() != 0 {
		line, err := firstLine(stderr)
		return errors.Join(errors.New(line), err)
	}
	return nil
}
