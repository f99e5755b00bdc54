package cgroup

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhereThisProcessIs(t *testing.T) {
	const mount1 = "30 20 0:26 / /sys/fs/cgroup/%c rw,relatime shared:1 - cgroup cgroup rw,%c\n"
	v1 := strings.ReplaceAll(mount1, "%c", "memory") + strings.ReplaceAll(mount1, "%c", "cpu,cpuacct") + strings.ReplaceAll(mount1, "%c", "pids") +
		strings.ReplaceAll(mount1, "%c", "freezer")
	const v2 = "31 20 0:27 / /sys/fs/cgroup rw,nosuid shared:2 - cgroup2 cgroup2 rw\n"
	for name, c := range map[string]struct {
		own, mounts string
		version     int
		dirs        map[string]string
	}{
		"version 1": {"4:memory:/a/b\n3:cpu,cpuacct:/\n2:pids:/p\n1:freezer:/f\n", v1, 1,
			map[string]string{"memory": "/sys/fs/cgroup/memory/a/b", "cpu": "/sys/fs/cgroup/cpu,cpuacct", "pids": "/sys/fs/cgroup/pids/p"}},
		"version 2": {"0::/system.slice/bgrid.service\n", v2, 2, map[string]string{
			"memory": "/sys/fs/cgroup/system.slice/bgrid.service", "cpu": "/sys/fs/cgroup/system.slice/bgrid.service", "pids": "/sys/fs/cgroup/system.slice/bgrid.service"}},
		"both: the one with controllers": {"4:memory:/\n0::/x\n", strings.ReplaceAll(mount1, "%c", "memory") + v2, 1, map[string]string{"memory": "/sys/fs/cgroup/memory"}},
		"a container that sees a part": {"4:memory:/docker/1/sub\n", "30 20 0:26 /docker/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n", 1,
			map[string]string{"memory": "/sys/fs/cgroup/memory/sub"}},
		"none":    {"", "", 0, nil},
		"garbage": {"::\nx\n4:memory\n", "a b - c\n - \n1 2 3 4 5 - cgroup cgroup\n", 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := locate(c.own, c.mounts)
			if c.version == 0 {
				if err == nil {
					t.Errorf("found %+v", m)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.dirs, m.dirs); m.version != c.version || diff != "" {
				t.Errorf("version %d %s", m.version, diff)
			}
		})
	}
}

func TestLimitsAreWrittenAsEachVersionHasThem(t *testing.T) {
	for _, c := range []struct {
		version int
		limits  Limits
		want    string
	}{
		{2, Limits{CPUs: 1.5, Memory: 1 << 20, Processes: 7}, "memory.max=1048576 pids.max=7 cpu.max=150000 100000"},
		{2, Limits{}, "memory.max=max pids.max=max cpu.max=max 100000"},
		{1, Limits{CPUs: 0.5, Memory: 4096}, "memory.limit_in_bytes=4096 pids.max=max cpu.cfs_quota_us=50000"},
		{1, Limits{}, "memory.limit_in_bytes=-1 pids.max=max cpu.cfs_quota_us=-1"},
	} {
		var got []string
		for _, s := range settings(c.version, c.limits) {
			got = append(got, s.file+"="+s.value)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("version %d, %+v: %q, want %q", c.version, c.limits, got, c.want)
		}
	}
}

func TestGroupsHoldProcessesToTheirLimits(t *testing.T) {
	m, err := Find()
	if err != nil {
		t.Logf("this machine has none: %v", err)
		return
	}
	g, err := m.Group("test")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := g.Set(Limits{Memory: 32 << 20}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), "sh", "-c", "read go; head -c 200000000 /dev/zero | tail -c 200000000 >/dev/null")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	before := g.OOMKills()
	if err := g.Add(cmd.Process.Pid); err != nil {
		t.Error(err)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	if _, ok := g.dirs[memory]; ok && g.OOMKills() == before {
		t.Error("nothing was killed for memory")
	}
	for _, l := range []Limits{{Memory: 1 << 30, Processes: 10, CPUs: 1}, {}, {Memory: 1 << 20}} {
		if _, err := g.Set(l); err != nil {
			t.Errorf("%+v: %v", l, err)
		}
	}
}
