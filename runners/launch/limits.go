package launch

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/cgroup"
	"github.com/bgrid-node/bgrid-node/runners/shim"
)

// shimThreads is what a shim and the first processes of a sandbox need themselves
// of a limit of processes.
const shimThreads = 24

// member is a shim with the control group that it and its commands are in.
type member struct {
	*shim.Process
	group *cgroup.Group // nil: none can be made here
}

// limit prepares a request and its shim for the limits.
func (m member) limit(req *shim.Request, l runners.Limits) error {
	rest := cgroup.Limits{CPUs: l.CPUs, Memory: l.Memory}
	if l.Processes > 0 {
		rest.Processes = l.Processes + shimThreads
	}
	if m.group != nil {
		var err error
		if rest, err = m.group.Set(rest); err != nil {
			return fmt.Errorf("set limits: %w", err)
		}
	}
	req.Limits = shim.Limits{FileSize: l.FileSize, Output: l.Output, Memory: rest.Memory}
	if rest.Processes > 0 {
		req.Limits.Processes = rest.Processes + processesOf(os.Geteuid())
	}
	return nil
}

// oomKills returns the count so far; 0 where nobody counts.
func (m member) oomKills(l runners.Limits) int64 {
	if m.group == nil || l.Memory == 0 {
		return 0
	}
	return m.group.OOMKills()
}

// processesOf counts a user's processes: the kernel's limit is one of all of them.
func processesOf(uid int) int64 {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	var n int64
	for _, e := range entries {
		var st unix.Stat_t
		if _, err := strconv.Atoi(e.Name()); err == nil && unix.Stat("/proc/"+e.Name(), &st) == nil && int(st.Uid) == uid {
			threads, err := os.ReadDir("/proc/" + e.Name() + "/task")
			n += int64(max(1, len(threads)))
			_ = err // it may have ended
		}
	}
	return n
}

// exceeded says which limit ended a command, "" when none did.
func exceeded(l runners.Limits, r shim.Reply, code int) string {
	switch {
	case r.OutputExceeded:
		return fmt.Sprintf("the command was killed: its stdout or stderr became larger than the limit of %s", bytesText(l.Output))
	case r.OutOfMemory && code != 0:
		return fmt.Sprintf("the command, or a process of it, was killed: it used more memory than the limit of %s", bytesText(l.Memory))
	case l.FileSize > 0 && code == signalBase+int(syscall.SIGXFSZ):
		return fmt.Sprintf("the command was killed: it wrote a file larger than the limit of %s", bytesText(l.FileSize))
	}
	return ""
}

func bytesText(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.size && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + " " + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " bytes"
}
