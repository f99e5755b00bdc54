package node

import (
	"strings"

	"github.com/bgrid-node/bgrid-node/runners"
)

// seccompState tells whether the kernel filters this process's system calls, as the
// runtimes of containers have it do unless told otherwise: "none" or "filtered", or
// "unknown" without /proc.
func seccompState(status string) string {
	for line := range strings.Lines(status) {
		if mode, ok := strings.CutPrefix(line, "Seccomp:"); ok {
			if strings.TrimSpace(mode) == "0" {
				return "none"
			}
			return "filtered"
		}
	}
	return "unknown"
}

// thisSeccomp is the state of this process.
func thisSeccomp() string { return seccompState(contentOf("/proc/self/status")) }

// seccompFindings says what a worker in a container has, which decides what its
// runners can do.
func seccompFindings() []runners.Finding {
	switch thisSeccomp() {
	case "none":
		return []runners.Finding{runners.Good("no seccomp profile filters system calls")}
	case "filtered":
		return []runners.Finding{runners.Good("a seccomp profile filters system calls: sandboxes need one that allows unshare, clone, mount and pivot_root")}
	}
	return nil
}
