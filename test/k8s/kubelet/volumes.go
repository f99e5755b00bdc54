package kubelet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"

	"github.com/bgrid-node/bgrid-node/test/cluster/netns"
)

// mounts makes the volumes of a pod, waits for those that are not there yet, and
// returns where they go.
func (c *Cluster) mounts(ctx context.Context, p *Pod) ([]mount, error) {
	dir := filepath.Join(c.options.Dir, "pods", p.host.Name)
	resolv := fmt.Sprintf("nameserver %s\nsearch %s svc.%s %s\noptions ndots:5\n", netns.Here, namespaceZone, clusterZone, clusterZone)
	if err := writeFile(dir, "resolv.conf", []byte(resolv), 0o644); err != nil {
		return nil, err
	}
	all := []mount{{from: filepath.Join(dir, "resolv.conf"), to: "/etc/resolv.conf", readOnly: true}}
	if p.workload.Pod.ServiceAccountName != "" {
		all = append(all, mount{from: c.api.account, to: accountDir, readOnly: true})
	}
	for _, m := range p.container.VolumeMounts {
		from := filepath.Join(dir, "volumes", m.Name)
		readOnly := m.ReadOnly
		var err error
		switch v := volume(p, m.Name); {
		case v == nil: // a claim: it outlives the pod
			from = filepath.Join(c.options.Dir, "claims", m.Name+"-"+p.name)
			err = ownedDir(p, from)
		case v.ConfigMap != nil:
			readOnly = true
			for name, text := range c.options.Set.Config(v.ConfigMap.Name) {
				err = writeFile(from, name, []byte(text), 0o644)
			}
		case v.Secret != nil:
			readOnly = true
			err = c.secret(ctx, p, v.Secret, from)
		default:
			err = ownedDir(p, from)
		}
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", m.Name, err)
		}
		all = append(all, mount{from: from, to: m.MountPath, readOnly: readOnly})
	}
	return all, c.mountPoints(p, all)
}

func volume(p *Pod, name string) *corev1.Volume {
	for _, v := range p.workload.Pod.Volumes {
		if v.Name == name {
			return &v
		}
	}
	return nil
}

// secret waits for a Secret, as a pod does that mounts one.
func (c *Cluster) secret(ctx context.Context, p *Pod, v *corev1.SecretVolumeSource, dir string) error {
	if err := c.await(ctx, "a Secret "+v.SecretName, func() bool { return c.api.secret(v.SecretName) != nil }); err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if v.DefaultMode != nil {
		mode = os.FileMode(*v.DefaultMode)
	}
	for name, data := range c.api.secret(v.SecretName) {
		if err := writeFile(dir, name, data, mode); err != nil {
			return err
		}
		if err := chown(p, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// ownedDir makes a directory that belongs to the pod's fsGroup, here its user.
func ownedDir(p *Pod, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return chown(p, dir)
}

func chown(p *Pod, path string) error {
	s := p.workload.Pod.SecurityContext
	return os.Chown(path, int(*s.RunAsUser), int(*s.FSGroup))
}

// mountPoints makes what is mounted over in the image's tree, as a container runtime
// does in its copy of it.
func (c *Cluster) mountPoints(p *Pod, mounts []mount) error {
	image := c.options.Images[p.container.Image]
	for _, m := range mounts {
		at := filepath.Join(image, m.to)
		info, err := os.Stat(m.from)
		if err != nil {
			return err
		}
		if info.IsDir() {
			err = os.MkdirAll(at, 0o755)
		} else if _, missing := os.Lstat(at); missing != nil {
			err = writeFile(filepath.Dir(at), filepath.Base(at), nil, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
