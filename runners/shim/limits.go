package shim

import "golang.org/x/sys/unix"

// Limits are what the kernel holds each process of a command to, without cgroups.
// 0 is none.
type Limits struct {
	FileSize  int64 // bytes of any one file: RLIMIT_FSIZE
	Output    int64 // bytes of stdout, and as many of stderr; looked at each second
	Processes int64 // of the command's user, in its user namespace: RLIMIT_NPROC
	Memory    int64 // bytes of private memory of each process: RLIMIT_DATA
}

func (l Limits) resources() map[int]int64 {
	m := map[int]int64{}
	for resource, value := range map[int]int64{
		unix.RLIMIT_FSIZE: l.FileSize, unix.RLIMIT_NPROC: l.Processes, unix.RLIMIT_DATA: l.Memory,
	} {
		if value > 0 {
			m[resource] = value
		}
	}
	return m
}

// set lowers this process's soft limits, which what it starts then inherits, and
// returns what raises them again.
func (l Limits) set() (restore func()) {
	resources := l.resources()
	if len(resources) == 0 {
		return func() {}
	}
	old := map[int]unix.Rlimit{}
	for resource, value := range resources {
		var now unix.Rlimit
		if unix.Getrlimit(resource, &now) != nil {
			continue
		}
		old[resource] = now
		_ = unix.Setrlimit(resource, &unix.Rlimit{Cur: min(uint64(value), now.Max), Max: now.Max})
	}
	return func() {
		for resource, limit := range old {
			_ = unix.Setrlimit(resource, &limit)
		}
	}
}

// seal makes the limits of a process that was just started hard ones.
func (l Limits) seal(pid int) {
	for resource, value := range l.resources() {
		var now unix.Rlimit
		if unix.Prlimit(pid, resource, nil, &now) == nil {
			hard := min(uint64(value), now.Max)
			_ = unix.Prlimit(pid, resource, &unix.Rlimit{Cur: min(hard, now.Cur), Max: hard}, nil)
		}
	}
}
