package bazel

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBazelsSummaryIsRead(t *testing.T) {
	for output, want := range map[string]Processes{
		"INFO: 12 processes: 7 internal, 5 linux-sandbox.\n":                                {Internal: 7, "linux-sandbox": 5},
		"INFO: 1 process: 1 internal.\n":                                                    {Internal: 1},
		"INFO: 0 processes.\n":                                                              {},
		"x\nINFO: 1 process: 1 internal.\nINFO: 4 processes: 3 remote cache hit, 1 remote.": {CacheHit: 3, Remote: 1},
		"ERROR: no such target\n":                                                           nil,
	} {
		have, err := parseProcesses(output)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%q (-want +have):\n%s", output, diff)
		}
	}
	for _, output := range []string{"INFO: 3 processes: 1 internal.", "INFO: 3 processes: all."} {
		if have, err := parseProcesses(output); err == nil {
			t.Errorf("%q: have %v, want an error", output, have)
		}
	}
}

func TestAllByNeedsEveryCommand(t *testing.T) {
	for _, c := range []struct {
		processes Processes
		want      bool
	}{
		{Processes{Internal: 7, Remote: 5}, true},
		{Processes{Internal: 7, Remote: 5, "local": 1}, false},
		{Processes{Internal: 7}, false},
		{nil, false},
	} {
		if have := c.processes.AllBy(Remote); have != c.want {
			t.Errorf("%v: have %t", c.processes, have)
		}
	}
}
