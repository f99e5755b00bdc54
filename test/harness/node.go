package harness

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Instance is the instance name of every node that is started here.
const Instance = "buildgrid"

const (
	startPatience = time.Minute // above what a node needs on a busy machine
	stopPatience  = time.Minute
	portTries     = 5
)

// Options say how a node is started. Binary and Dir are needed.
type Options struct {
	Binary string
	Dir    string   // the data directory
	Args   []string // of serve, after those that are always given
	GRPC   string   // address; empty: a free port of the loopback address
	HTTP   string   // address; empty: a free port of the loopback address
	Exec   []string // a command that starts the node, before its path
	// Ready asks whether the node at a gRPC address is; nil: whether it answers.
	Ready func(ctx context.Context, address string) error
	Log   io.Writer // gets what the node prints, besides Node.Log; may be nil
}

// Node is a running node.
type Node struct {
	GRPC, HTTP string        // addresses
	Dir        string        // the data directory
	Ready      time.Duration // from the start of the process until it was ready

	options Options
	cmd     *exec.Cmd
	log     *logBuffer
	began   time.Time
	exited  chan struct{}
	err     error // of Wait; read it after exited is closed
}

// Launch starts a node and returns when it answers. A free port that somebody
// else takes meanwhile is replaced by another one.
func Launch(ctx context.Context, o Options) (*Node, error) {
	for try := 1; ; try++ {
		n, err := launch(ctx, o)
		if err == nil || try == portTries || !strings.Contains(err.Error(), "port is in use") {
			return n, err
		}
	}
}

func launch(ctx context.Context, o Options) (*Node, error) {
	n, err := Spawn(o)
	if err != nil {
		return nil, err
	}
	if err := n.Await(ctx, startPatience); err != nil {
		n.Kill()
		return nil, err
	}
	return n, nil
}

// Spawn starts a node and does not wait for it.
func Spawn(o Options) (*Node, error) {
	n := &Node{GRPC: o.GRPC, HTTP: o.HTTP, Dir: o.Dir, options: o, log: new(logBuffer), exited: make(chan struct{})}
	for _, address := range []*string{&n.GRPC, &n.HTTP} {
		if *address != "" {
			continue
		}
		var err error
		if *address, err = FreeAddress(); err != nil {
			return nil, err
		}
	}
	args := append(append([]string{}, o.Exec...), o.Binary, "serve", "--listen", n.GRPC, "--http-listen", n.HTTP,
		"--instance", Instance, "--data-dir", o.Dir, "--log-level", "info")
	args = append(args, o.Args...)
	n.cmd = exec.Command(args[0], args[1:]...)
	n.cmd.Env = environment()
	n.cmd.Stdout = n.log
	if o.Log != nil {
		n.cmd.Stdout = io.MultiWriter(n.log, o.Log)
	}
	n.cmd.Stderr = n.cmd.Stdout
	n.began = time.Now()
	if err := n.begin(); err != nil {
		return nil, fmt.Errorf("start bgrid-node: %w", err)
	}
	return n, nil
}

// begin starts the process, in a process group of its own: what a terminal sends
// to the test does not reach it. The kernel kills it when the test dies.
func (n *Node) begin() error {
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // its end is what sends the signal
		err := n.cmd.Start()
		started <- err
		if err == nil {
			n.err = n.cmd.Wait()
			close(n.exited)
		}
	}()
	return <-started
}

// Await returns when the node is ready, and fails when it is not within the
// patience, or has ended.
func (n *Node) Await(ctx context.Context, patience time.Duration) error {
	ready, last := n.options.Ready, error(nil)
	if ready == nil {
		ready = answers
	}
	for began := time.Now(); time.Since(began) < patience; {
		select {
		case <-n.exited:
			return fmt.Errorf("bgrid-node ended at its start (%w):\n%s", n.err, n.log)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
		// A plain connection first: a refused one would make gRPC back off.
		c, err := net.DialTimeout("tcp", n.GRPC, time.Second)
		if last = err; err != nil {
			continue
		}
		_ = c.Close()
		if last = ready(ctx, n.GRPC); last == nil {
			n.Ready = time.Since(n.began)
			return nil
		}
	}
	return fmt.Errorf("bgrid-node was not ready within %s (%w):\n%s", patience, last, n.log)
}

// Again starts the node anew, on the same directory and addresses. It must have
// ended. The log begins anew as well.
func (n *Node) Again(ctx context.Context, args ...string) (*Node, error) {
	o := n.options
	o.GRPC, o.HTTP = n.GRPC, n.HTTP
	if len(args) > 0 {
		o.Args = args
	}
	return Launch(ctx, o)
}

// Kill ends the process by SIGKILL and waits for its end.
func (n *Node) Kill() {
	_ = n.cmd.Process.Kill()
	<-n.exited
}

// Stop ends the process by SIGTERM and waits for its end; after a minute it is
// killed, which is an error, as is any exit code but 0.
func (n *Node) Stop() error {
	_ = n.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.exited:
	case <-time.After(stopPatience):
		n.Kill()
		return fmt.Errorf("bgrid-node did not end within %s of SIGTERM:\n%s", stopPatience, n.log)
	}
	if n.err != nil {
		return fmt.Errorf("bgrid-node ended: %w:\n%s", n.err, n.log)
	}
	return nil
}

// Exited is closed when the process has ended.
func (n *Node) Exited() <-chan struct{} { return n.exited }

// Pid returns the process id.
func (n *Node) Pid() int { return n.cmd.Process.Pid }

// Log returns what the node printed so far: at most its last MiB.
func (n *Node) Log() string { return n.log.String() }

// FreeAddress returns a loopback address with a port that was free a moment ago.
func FreeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// environment is this process's without what would configure a node.
func environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "BGRID_") {
			env = append(env, v)
		}
	}
	return env
}
