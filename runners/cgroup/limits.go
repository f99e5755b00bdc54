package cgroup

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// period of the CPU's accounting, microseconds.
const period = 100_000

// setting is one write to a group's file.
type setting struct{ controller, file, value string }

// settings lists what the limits are as files; a pure function.
func settings(version int, l Limits) []setting {
	quota := int64(l.CPUs * period)
	if version == 2 {
		cpuMax := "max " + strconv.Itoa(period)
		if l.CPUs > 0 {
			cpuMax = strconv.FormatInt(quota, 10) + " " + strconv.Itoa(period)
		}
		return []setting{
			{memory, "memory.max", orMax(l.Memory)}, {pids, "pids.max", orMax(l.Processes)}, {cpu, "cpu.max", cpuMax},
		}
	}
	memoryMax, cpuQuota := "-1", "-1"
	if l.Memory > 0 {
		memoryMax = strconv.FormatInt(l.Memory, 10)
	}
	if l.CPUs > 0 {
		cpuQuota = strconv.FormatInt(quota, 10)
	}
	return []setting{
		{memory, "memory.limit_in_bytes", memoryMax}, {pids, "pids.max", orMax(l.Processes)}, {cpu, "cpu.cfs_quota_us", cpuQuota},
	}
}

func orMax(n int64) string {
	if n <= 0 {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}

// Set sets the limits, and returns those that the machine has no controller for.
func (g *Group) Set(l Limits) (rest Limits, err error) {
	rest = l
	if _, ok := g.dirs[memory]; ok {
		rest.Memory = 0
	}
	if _, ok := g.dirs[pids]; ok {
		rest.Processes = 0
	}
	if _, ok := g.dirs[cpu]; ok {
		rest.CPUs = 0
	}
	if l == g.set {
		return rest, nil
	}
	for _, s := range settings(g.m.version, l) {
		dir, ok := g.dirs[s.controller]
		if !ok {
			continue
		}
		if err := write(dir, s.file, s.value); err != nil {
			g.set = Limits{CPUs: -1} // neither these nor those: set all the next time
			return rest, err
		}
	}
	g.noSwap(l)
	g.set = l
	return rest, nil
}

// noSwap keeps what has no room out of the swap, where there is one.
func (g *Group) noSwap(l Limits) {
	dir, ok := g.dirs[memory]
	switch {
	case !ok || l.Memory == 0:
	case g.m.version == 2:
		_ = write(dir, "memory.swap.max", "0")
	default:
		_ = write(dir, "memory.swappiness", "0")
	}
}

// OOMKills returns how many processes of the group were killed for want of memory
// so far.
func (g *Group) OOMKills() int64 {
	dir, ok := g.dirs[memory]
	if !ok {
		return 0
	}
	file := "memory.oom_control"
	if g.m.version == 2 {
		file = "memory.events"
	}
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0
	}
	return oomKillsIn(string(b))
}

func oomKillsIn(text string) int64 {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n
		}
	}
	return 0
}
