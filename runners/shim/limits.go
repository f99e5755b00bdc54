package shim

import (
	"os"

	"golang.org/x/sys/unix"
)

// Limits are what the kernel holds each process of a command to, without control
// groups. 0 is none.
type Limits struct {
	FileSize  int64 // bytes of any one file: RLIMIT_FSIZE
	Output    int64 // bytes of stdout, and as many of stderr; looked at each second
	Processes int64 // of the shim's user, others' included: RLIMIT_NPROC
	Memory    int64 // bytes of private memory of each process: RLIMIT_DATA
}

// inherited are the limits that a command gets at its birth: such as the shim
// itself can bear for a moment.
func (l Limits) inherited() map[int]int64 {
	return positive(map[int]int64{unix.RLIMIT_FSIZE: l.FileSize, unix.RLIMIT_NPROC: l.Processes})
}

func positive(m map[int]int64) map[int]int64 {
	for resource, value := range m {
		if value <= 0 {
			delete(m, resource)
		}
	}
	return m
}

// set lowers this process's limits, which what it starts then inherits, and
// returns what raises them again: the soft ones, and where this process has the
// right to raise them again the hard ones, too. Elsewhere seal follows, a moment
// in which a command that means to can keep a higher one.
func (l Limits) set() (restore func()) {
	resources := l.inherited()
	if len(resources) == 0 {
		return func() {}
	}
	privileged := os.Geteuid() == 0 && !inUserNamespace()
	old := map[int]unix.Rlimit{}
	for resource, value := range resources {
		var now unix.Rlimit
		if unix.Getrlimit(resource, &now) != nil {
			continue
		}
		old[resource] = now
		lower := unix.Rlimit{Cur: min(uint64(value), now.Max), Max: now.Max}
		if privileged {
			lower.Max = lower.Cur
		}
		_ = unix.Setrlimit(resource, &lower)
	}
	return func() {
		for resource, limit := range old {
			_ = unix.Setrlimit(resource, &limit)
		}
	}
}

// seal makes the limits of a process that was just started hard ones.
func (l Limits) seal(pid int) {
	resources := l.inherited()
	if l.Memory > 0 {
		resources[unix.RLIMIT_DATA] = l.Memory
	}
	for resource, value := range resources {
		var now unix.Rlimit
		if unix.Prlimit(pid, resource, nil, &now) == nil {
			hard := min(uint64(value), now.Max)
			_ = unix.Prlimit(pid, resource, &unix.Rlimit{Cur: min(hard, now.Cur), Max: hard}, nil)
		}
	}
}
