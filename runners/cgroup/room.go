package cgroup

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Room returns how many CPUs and how many bytes of memory this process and its
// children have: those of the machine, or what the control groups above it allow.
func Room() Limits {
	l := Limits{CPUs: float64(runtime.NumCPU())}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		l.Memory = int64(info.Totalram) * int64(info.Unit)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return l
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return l
	}
	if m, err := locate(string(own), string(mounts)); err == nil {
		m.confine(&l)
	}
	return l
}

// confine lowers l to what the groups allow, from this process's own up to the
// mount point.
func (m *Manager) confine(l *Limits) {
	for dir := m.dirs[memory]; dir != "" && dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		lower(&l.Memory, max(int64Of(dir, "memory.max"), int64Of(dir, "memory.limit_in_bytes")))
	}
	for dir := m.dirs[cpu]; dir != "" && dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		quota, period := int64Of(dir, "cpu.cfs_quota_us"), int64Of(dir, "cpu.cfs_period_us")
		if words := strings.Fields(text(dir, "cpu.max")); len(words) == 2 {
			quota, _ = strconv.ParseInt(words[0], 10, 64) // max: no limit
			period, _ = strconv.ParseInt(words[1], 10, 64)
		}
		if period > 0 {
			lower(&l.CPUs, float64(max(quota, 0))/float64(period))
		}
	}
}

func lower[T int64 | float64](have *T, limit T) {
	if limit > 0 && limit < *have {
		*have = limit
	}
}

// int64Of returns what a group's file says; 0 where there is no number.
func int64Of(dir, file string) int64 {
	n, _ := strconv.ParseInt(text(dir, file), 10, 64)
	return n
}

func text(dir, file string) string {
	data, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
