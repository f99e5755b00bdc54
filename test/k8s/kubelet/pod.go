package kubelet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/bgrid-node/bgrid-node/test/cluster/netns"
	"github.com/bgrid-node/bgrid-node/test/k8s"
)

// nameDelay is how long the name of a new pod is unknown: in clusters that takes a
// few seconds, even when addresses are published that are not ready.
const nameDelay = 2 * time.Second

// Pod is one that runs. It has one container.
type Pod struct {
	name      string
	workload  k8s.Workload
	container *corev1.Container
	host      *netns.Host
	named     time.Time // from when on its name is known

	ready    atomic.Bool
	stopping atomic.Bool
	cmd      *exec.Cmd
	inner    int // process id of the container's first process
	log      *tail
	exited   chan struct{}
	stop     context.CancelFunc // of its probes
}

// Ready tells whether its readiness probe succeeds.
func (p *Pod) Ready() bool { return p.ready.Load() && !p.stopping.Load() }

// Address returns its address, without a port.
func (p *Pod) Address() string { return p.host.Address }

// start makes a pod and runs its container; for a Job, to its end.
func (c *Cluster) start(ctx context.Context, w k8s.Workload, name string) error {
	host, err := c.newHost(ctx)
	if err != nil {
		return err
	}
	p := &Pod{name: name, workload: w, container: &w.Pod.Containers[0], host: host, named: time.Now().Add(nameDelay), log: &tail{}, exited: make(chan struct{})}
	mounts, err := c.mounts(ctx, p)
	if err != nil {
		return fmt.Errorf("pod %s: %w", name, err)
	}
	if err := p.run(c, mounts); err != nil {
		return fmt.Errorf("pod %s: %w", name, err)
	}
	if w.Pod.RestartPolicy == corev1.RestartPolicyOnFailure {
		<-p.exited
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			return fmt.Errorf("job %s: exit code %d: %s", name, code, p.log)
		}
		c.options.Say("job %s: %s", name, p.log)
		return host.Remove(ctx)
	}
	c.mu.Lock()
	c.pods[name] = p
	c.mu.Unlock()
	probes, stop := context.WithCancel(context.Background())
	p.stop = stop
	go c.watch(p)
	go c.probe(probes, p)
	return nil
}

// run starts the container. Its first process is the manifest's command.
func (p *Pod) run(c *Cluster, mounts []mount) error {
	env, err := k8s.Environment(p.container, p.name, p.host.Address)
	if err != nil {
		return err
	}
	for name, value := range c.api.environment() {
		env[name] = value
	}
	image := c.options.Images[p.container.Image]
	if image == "" {
		return fmt.Errorf("no image %s", p.container.Image)
	}
	info, child, err := os.Pipe()
	if err != nil {
		return err
	}
	defer info.Close()
	args := append(p.host.Exec(), containerCommand(p, image, mounts, env)...)
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.ExtraFiles = []*os.File{child}
	p.cmd.Env = []string{}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // its end is what sends the signal
		err := p.cmd.Start()
		_ = child.Close()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	var said struct {
		ChildPid int `json:"child-pid"`
	}
	if err := json.NewDecoder(info).Decode(&said); err != nil {
		return fmt.Errorf("start container: %w: %s", err, p.log)
	}
	p.inner = said.ChildPid
	return nil
}

// watch notes a container that ends by itself.
func (c *Cluster) watch(p *Pod) {
	<-p.exited
	if !p.stopping.Load() {
		c.note(fmt.Errorf("the container of pod %s ended: %s\n%s", p.name, p.cmd.ProcessState, p.log))
	}
}

// end ends a pod as the kubelet does: no service leads to it any more, preStop, then
// SIGTERM, and SIGKILL when the grace period is over, which here is a mistake.
func (c *Cluster) end(ctx context.Context, p *Pod) error {
	p.stopping.Store(true)
	grace := 30 * time.Second
	if s := p.workload.Pod.TerminationGracePeriodSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	}
	deadline := time.After(grace)
	hook := make(chan error, 1)
	go func() { hook <- p.preStop(ctx) }()
	select {
	case err := <-hook:
		if err != nil {
			return err
		}
	case <-deadline:
		return fmt.Errorf("preStop of pod %s takes longer than the grace period", p.name)
	}
	_ = syscall.Kill(p.inner, syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-deadline:
		return fmt.Errorf("pod %s does not end within its grace period\n%s", p.name, p.log)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("pod %s ended with exit code %d\n%s", p.name, code, p.log)
	}
	c.forget(ctx, p)
	return nil
}

// preStop runs the hook's command in the container.
func (p *Pod) preStop(ctx context.Context) error {
	l := p.container.Lifecycle
	if l == nil || l.PreStop == nil || l.PreStop.Exec == nil {
		return nil
	}
	if out, err := p.Exec(ctx, l.PreStop.Exec.Command...); err != nil {
		return fmt.Errorf("preStop of pod %s: %w: %s", p.name, err, out)
	}
	return nil
}

// Exec does what `kubectl exec POD -- COMMAND` does: the container's namespaces, user
// and environment, but not its arguments.
func (p *Pod) Exec(ctx context.Context, command ...string) (string, error) {
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.inner))
	if err != nil {
		return "", err
	}
	args := append(p.host.Exec(), asUser(p)...)
	args = append(args, "nsenter", "--target", fmt.Sprint(p.inner), "--user", "--preserve-credentials", "--mount", "--pid", "--")
	args = append(args, command...)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	for _, v := range splitNul(env) {
		cmd.Env = append(cmd.Env, v)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// kill ends the container at once, and returns when it has.
func (p *Pod) kill() {
	_ = syscall.Kill(p.inner, syscall.SIGKILL)
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// forget takes a pod whose container has ended out of the cluster. The volume of a
// claim stays.
func (c *Cluster) forget(ctx context.Context, p *Pod) {
	p.stop()
	c.mu.Lock()
	delete(c.pods, p.name)
	c.mu.Unlock()
	_ = p.host.Remove(ctx)
	c.note(c.endClaims(p))
	if err := os.RemoveAll(filepath.Join(c.options.Dir, "pods", p.host.Name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		c.note(err)
	}
}
