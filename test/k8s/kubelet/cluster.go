// Package kubelet runs the pods of this project's manifests as a Kubernetes cluster
// would, on one machine: each pod in a network namespace with an address of its own
// that changes at each start, in the file tree of its image, as its user, with its
// command, arguments, environment, volumes, probes and preStop; services and the
// names of pods are found by DNS. The manifests say what runs, and nothing else does.
package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/bgrid-node/bgrid-node/test/cluster/netns"
	"github.com/bgrid-node/bgrid-node/test/k8s"
)

// patience is far above what anything here takes.
const patience = 2 * time.Minute

// Options say what to run. All are needed.
type Options struct {
	Set    *k8s.Set
	Images map[string]string // file trees by the image's name and tag
	Dir    string            // for volumes
	Say    func(format string, args ...any)
}

// Cluster is a running set of manifests.
type Cluster struct {
	options  Options
	api      *apiServer
	dns      *dnsServer
	services []*service

	mu       sync.Mutex
	pods     map[string]*Pod // guarded by mu; by name
	lastHost int             // guarded by mu; id of the host that was added last
	problems []error         // guarded by mu; what must not happen
	doomed   []string        // guarded by mu; volumes of claims that were deleted
}

// Create does what `kubectl create` and the controllers then do. It must run in a
// process with a network, see netns.New. End it with Close.
func Create(ctx context.Context, o Options) (*Cluster, error) {
	c := &Cluster{options: o, pods: map[string]*Pod{}}
	var err error
	if c.api, err = startAPIServer(filepath.Join(o.Dir, "account")); err != nil {
		return nil, err
	}
	if c.dns, err = startDNS(c); err != nil {
		return nil, err
	}
	if err := c.startServices(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	// The nodes first: their pods wait for the Secret that the Job makes.
	var wait sync.WaitGroup
	for _, w := range o.Set.Workloads() {
		for i := range w.Replicas {
			wait.Go(func() { c.note(c.start(ctx, w, podName(&w, i))) })
		}
	}
	wait.Wait()
	if err := c.Problem(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// podName is that of a StatefulSet's pods, which keep it, or like those of others.
func podName(w *k8s.Workload, i int32) string {
	return fmt.Sprintf("%s-%d", filepath.Base(w.ID), i)
}

// note keeps an error that Problem then tells.
func (c *Cluster) note(err error) {
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.problems = append(c.problems, err)
	}
}

// Problem returns what went wrong so far: containers that ended or that liveness
// probes killed.
func (c *Cluster) Problem() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.problems...)
}

// Pod returns a pod by its name, or nil.
func (c *Cluster) Pod(name string) *Pod {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pods[name]
}

// matching returns the pods of workloads that the filter takes.
func (c *Cluster) matching(keep func(*Pod) bool) []*Pod {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*Pod
	for _, p := range c.pods {
		if keep(p) {
			list = append(list, p)
		}
	}
	return list
}

// AwaitReady waits until all pods of a workload are ready.
func (c *Cluster) AwaitReady(ctx context.Context, w k8s.Workload) error {
	return c.await(ctx, w.ID+" ready", func() bool {
		return len(c.matching(func(p *Pod) bool { return p.workload.ID == w.ID && p.Ready() })) == int(w.Replicas)
	})
}

func (c *Cluster) await(ctx context.Context, what string, done func() bool) error {
	for began := time.Now(); !done(); {
		if c.Problem() != nil {
			return fmt.Errorf("gave up waiting for %s, after what else went wrong", what)
		}
		if time.Since(began) > patience {
			return fmt.Errorf("not within %s: %s\n%s", patience, what, c.Logs())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// Delete does what `kubectl delete pod` does, and waits until there is a new one.
func (c *Cluster) Delete(ctx context.Context, name string) error {
	p := c.Pod(name)
	if p == nil {
		return fmt.Errorf("delete pod %s: there is none", name)
	}
	if err := c.end(ctx, p); err != nil {
		return err
	}
	return c.start(ctx, p.workload, name)
}

// Kill ends the containers of a pod as if its machine had died, and starts it again.
func (c *Cluster) Kill(ctx context.Context, name string) error {
	p := c.Pod(name)
	if p == nil {
		return fmt.Errorf("kill pod %s: there is none", name)
	}
	p.stopping.Store(true)
	p.kill()
	c.forget(ctx, p)
	return c.start(ctx, p.workload, name)
}

// Restart does what `kubectl rollout restart` of a StatefulSet does: the pods one by
// one, from the last to the first, each ready before the next.
func (c *Cluster) Restart(ctx context.Context, w k8s.Workload) error {
	for i := w.Replicas - 1; i >= 0; i-- {
		if err := c.Delete(ctx, podName(&w, i)); err != nil {
			return err
		}
		if err := c.AwaitReady(ctx, w); err != nil {
			return err
		}
		c.options.Say("pod %s is replaced, and ready", podName(&w, i))
	}
	return nil
}

// Logs returns what the containers printed last.
func (c *Cluster) Logs() string {
	text := ""
	for _, p := range c.matching(func(*Pod) bool { return true }) {
		text += fmt.Sprintf("--- %s (ready: %t)\n%s", p.name, p.Ready(), p.log.String())
	}
	return text
}

// Close ends everything at once.
func (c *Cluster) Close() error {
	for _, p := range c.matching(func(*Pod) bool { return true }) {
		p.stopping.Store(true)
		p.kill()
		c.forget(context.Background(), p)
	}
	for _, s := range c.services {
		s.close()
	}
	c.dns.close()
	c.api.close()
	return nil
}

// newHost gives a pod an address that no pod had before.
func (c *Cluster) newHost(ctx context.Context) (*netns.Host, error) {
	c.mu.Lock()
	c.lastHost++
	id := c.lastHost
	c.mu.Unlock()
	return netns.Add(ctx, fmt.Sprint("p", id), id)
}

// writeFile writes one that any user may read.
func writeFile(dir, name string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}
