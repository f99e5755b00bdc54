package harness

import (
	"fmt"
	"os/exec"
	"strings"
)

// WorkerOptions say how a remote worker is started. Binary, Dir and Servers are
// needed.
type WorkerOptions struct {
	Binary  string
	Dir     string   // its data directory
	Servers []string // addresses
	Args    []string // of worker, after those that are always given
	Exec    []string // a command that starts it, before its path
}

// Worker is a running remote worker. Its methods are those of a node that have to
// do with processes.
type Worker struct {
	*Node
	options WorkerOptions
}

// LaunchWorker starts a remote worker, with hosttools as its only runner. It need
// not have reached a server when this returns.
func LaunchWorker(o WorkerOptions) (*Worker, error) {
	n := &Node{Dir: o.Dir, log: new(logBuffer), exited: make(chan struct{})}
	args := append(append([]string{}, o.Exec...), o.Binary, "worker", "--server", strings.Join(o.Servers, ","),
		"--instance", Instance, "--data-dir", o.Dir, "--runner", "hosttools")
	args = append(args, o.Args...)
	n.cmd = exec.Command(args[0], args[1:]...)
	n.cmd.Env = environment()
	n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
	if err := n.begin(); err != nil {
		return nil, fmt.Errorf("start worker: %w", err)
	}
	return &Worker{n, o}, nil
}

// Again starts the worker anew, in the same directory. It must have ended.
func (w *Worker) Again() (*Worker, error) { return LaunchWorker(w.options) }
