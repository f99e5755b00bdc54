package cgroup

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRoomIsWhatTheGroupsAboveAllow(t *testing.T) {
	for _, c := range []struct {
		rule        string
		outer, here map[string]string // file to content
		want        Limits
	}{
		{"no groups", nil, nil, Limits{CPUs: 8, Memory: 1000}},
		{"version 2, no limits", nil, map[string]string{"memory.max": "max\n", "cpu.max": "max 100000\n"}, Limits{CPUs: 8, Memory: 1000}},
		{"version 2", nil, map[string]string{"memory.max": "500\n", "cpu.max": "150000 100000\n"}, Limits{CPUs: 1.5, Memory: 500}},
		{
			"a group above is tighter", map[string]string{"memory.max": "300\n", "cpu.max": "200000 100000\n"},
			map[string]string{"memory.max": "500\n", "cpu.max": "max 100000\n"}, Limits{CPUs: 2, Memory: 300},
		},
		{
			"version 1", map[string]string{"memory.limit_in_bytes": "9223372036854771712\n", "cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"},
			map[string]string{"memory.limit_in_bytes": "400\n", "cpu.cfs_quota_us": "50000\n", "cpu.cfs_period_us": "100000\n"}, Limits{CPUs: 0.5, Memory: 400},
		},
		{"more than the machine has", nil, map[string]string{"memory.max": "5000\n", "cpu.max": "6400000 100000\n"}, Limits{CPUs: 8, Memory: 1000}},
	} {
		outer := t.TempDir()
		here := filepath.Join(outer, "here")
		if err := os.Mkdir(here, 0o755); err != nil {
			t.Fatal(err)
		}
		for dir, files := range map[string]map[string]string{outer: c.outer, here: c.here} {
			for name, content := range files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		have := Limits{CPUs: 8, Memory: 1000}
		(&Manager{dirs: map[string]string{memory: here, cpu: here}}).confine(&have)
		if have != c.want {
			t.Errorf("%s: %+v, want %+v", c.rule, have, c.want)
		}
	}
	if real := Room(); real.CPUs <= 0 || real.Memory <= 0 {
		t.Errorf("this machine: %+v", real)
	}
}
