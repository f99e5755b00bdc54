package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
)

// instance is the instance name of every request.
const instance = "buildgrid"

// nullServerVariable makes a copy of this program the null server; its value is
// the file to which it writes its address.
const nullServerVariable = "BGRID_BENCH_NULL_SERVER"

// process is a server that runs beside this program.
type process struct {
	cmd     *exec.Cmd
	address string
	http    string
	log     *lockedBuffer
	exited  chan struct{}
	ready   time.Duration // from its start to its first answer
}

// buildNode builds the tree that this program is run in.
func buildNode(ctx context.Context, work string) (string, error) {
	binary := filepath.Join(work, "bgrid-node")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "github.com/bgrid-node/bgrid-node/cmd/bgrid-node")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build bgrid-node: %w\n%s", err, out)
	}
	return binary, nil
}

// startNode starts a node on free loopback ports and waits for its first answer.
func startNode(ctx context.Context, binary, dir string, args []string) (*process, error) {
	listen, err := freeAddress()
	if err != nil {
		return nil, err
	}
	http, err := freeAddress()
	if err != nil {
		return nil, err
	}
	all := append([]string{"serve", "--listen", listen, "--http-listen", http, "--instance", instance,
		"--data-dir", dir, "--log-level", "warn", "--cas-max-size", "40GiB"}, args...)
	p := &process{cmd: exec.Command(binary, all...), address: listen, http: http}
	return p, p.start(ctx)
}

// startNull starts this program again as the null server.
func startNull(ctx context.Context, work string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	file := filepath.Join(work, "null-address")
	p := &process{cmd: exec.Command(self)}
	p.cmd.Env = append(os.Environ(), nullServerVariable+"="+file)
	if err := p.launch(); err != nil {
		return nil, fmt.Errorf("start the null server: %w", err)
	}
	for range 500 {
		if data, err := os.ReadFile(file); err == nil && len(data) > 0 {
			p.address = string(data)
			return p, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.kill()
	return nil, fmt.Errorf("the null server gave no address: %s", p.log)
}

// start starts the process and asks for its capabilities until it answers.
func (p *process) start(ctx context.Context) error {
	began := time.Now()
	if err := p.launch(); err != nil {
		return fmt.Errorf("start bgrid-node: %w", err)
	}
	for deadline := began.Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		select {
		case <-p.exited:
			return fmt.Errorf("bgrid-node ended at its start: %s", p.log)
		case <-ctx.Done():
			p.kill()
			return ctx.Err()
		default:
		}
		// A plain connection first: a refused one would make gRPC back off.
		c, err := net.DialTimeout("tcp", p.address, time.Second)
		if err != nil {
			continue
		}
		c.Close()
		if err := p.answers(ctx); err == nil {
			p.ready = time.Since(began)
			return nil
		}
	}
	p.kill()
	return fmt.Errorf("bgrid-node did not answer within a minute: %s", p.log)
}

func (p *process) answers(ctx context.Context) error {
	conn, err := dial(p.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err = repb.NewCapabilitiesClient(conn).GetCapabilities(ctx, &repb.GetCapabilitiesRequest{InstanceName: instance})
	return err
}

// launch starts the process and a goroutine that waits for its end.
func (p *process) launch() error {
	p.log, p.exited = new(lockedBuffer), make(chan struct{})
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	return nil
}

// kill ends the process at once; data directories are temporary.
func (p *process) kill() {
	if p != nil && p.exited != nil {
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// terminate ends the process as a service manager does, by force after a minute.
func (p *process) terminate() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(time.Minute):
		p.kill()
	}
}

// anonymous returns the process's anonymous resident memory in MB.
func (p *process) anonymous() (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read the node's memory: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb * 1024 / 1e6, err
		}
	}
	return 0, fmt.Errorf("read the node's memory: no RssAnon in /proc")
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// lockedBuffer holds what a process printed.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
