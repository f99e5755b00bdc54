package kubelet

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/bgrid-node/bgrid-node/test/k8s"
)

// mount is a file or directory of this machine at a place in a container.
type mount struct {
	from, to string
	readOnly bool
}

// containerCommand returns what runs a pod's container: as its user without any
// right, in its image, which it cannot change, with its mounts. Namespaces are made by
// bwrap; descriptor 3 is told the process id.
func containerCommand(p *Pod, image string, mounts []mount, env map[string]string) []string {
	user, group := ids(p)
	args := append(asUser(p),
		"bwrap", "--unshare-user", "--uid", user, "--gid", group, "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", p.name,
		"--as-pid-1", "--die-with-parent", "--info-fd", "3", "--ro-bind", image, "/", "--proc", "/proc", "--tmpfs", "/dev")
	// Not bwrap's --dev, which makes a second user namespace that Exec could not enter.
	for _, device := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		args = append(args, "--dev-bind", "/dev/"+device, "/dev/"+device)
	}
	// As runtimes do. Because something of it is covered, the kernel refuses a sandbox a
	// /proc of its own.
	args = append(args, "--ro-bind", "/proc/sys", "/proc/sys")
	for name, to := range map[string]string{"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"} {
		args = append(args, "--symlink", "/proc/self/fd"+to, "/dev/"+name)
	}
	for _, m := range mounts {
		option := "--bind"
		if m.readOnly {
			option = "--ro-bind"
		}
		args = append(args, option, m.from, m.to)
	}
	args = append(args, "--chdir", "/", "--clearenv", "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin", "--setenv", "HOSTNAME", p.name)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		args = append(args, "--setenv", name, env[name])
	}
	args = append(args, "--", p.container.Command[0])
	return append(args, k8s.Arguments(p.container, env)...)
}

func ids(p *Pod) (user, group string) {
	s := p.workload.Pod.SecurityContext
	return fmt.Sprint(*s.RunAsUser), fmt.Sprint(*s.RunAsGroup)
}

// asUser runs what follows as the pod's user, without any right.
func asUser(p *Pod) []string {
	user, group := ids(p)
	return []string{"setpriv", "--reuid=" + user, "--regid=" + group, "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--"}
}

// tail keeps the end of what a container prints.
type tail struct {
	mu   sync.Mutex
	data []byte
}

const tailBytes = 32 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, b...)
	if over := len(t.data) - tailBytes; over > tailBytes {
		t.data = slices.Clone(t.data[over:])
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.data)
}

func splitNul(b []byte) []string {
	var list []string
	for _, s := range bytes.Split(bytes.TrimRight(b, "\x00"), []byte{0}) {
		list = append(list, strings.TrimSpace(string(s)))
	}
	return list
}
