package kubelet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bgrid-node/bgrid-node/test/k8s"
)

// Workload returns one by its kind and name, as kubectl has them in KIND/NAME, with
// the number of pods that it has now.
func (c *Cluster) Workload(id string) (k8s.Workload, error) {
	for _, w := range c.options.Set.Workloads() {
		if strings.EqualFold(w.ID, id) {
			w.Replicas = int32(len(c.matching(func(p *Pod) bool { return p.workload.ID == w.ID })))
			return w, nil
		}
	}
	return k8s.Workload{}, fmt.Errorf("no workload %s", id)
}

// Scale does what `kubectl scale` does, and waits until all pods are ready. What goes
// goes from the last on.
func (c *Cluster) Scale(ctx context.Context, id string, replicas int32) error {
	w, err := c.Workload(id)
	if err != nil {
		return err
	}
	for ; w.Replicas < replicas; w.Replicas++ {
		if err := c.start(ctx, w, podName(&w, w.Replicas)); err != nil {
			return err
		}
	}
	for ; w.Replicas > replicas; w.Replicas-- {
		if err := c.end(ctx, c.Pod(podName(&w, w.Replicas-1))); err != nil {
			return err
		}
	}
	return c.AwaitReady(ctx, w)
}

// DeleteClaim does what `kubectl delete persistentvolumeclaim` does: the volume goes
// when its pod does.
func (c *Cluster) DeleteClaim(name string) error {
	dir := filepath.Join(c.options.Dir, "claims", name)
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("delete claim %s: %w", name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doomed = append(c.doomed, dir)
	return nil
}

// endClaims removes what DeleteClaim named, once the pod has gone.
func (c *Cluster) endClaims(p *Pod) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, dir := range c.doomed {
		if strings.HasSuffix(dir, "-"+p.name) {
			c.doomed = append(c.doomed[:i], c.doomed[i+1:]...)
			return os.RemoveAll(dir)
		}
	}
	return nil
}
