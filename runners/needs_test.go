package runners_test

import (
	"testing"

	"github.com/bgrid-node/bgrid-node/runners"
)

func TestAnActionNeedsWhatItsLimitsSay(t *testing.T) {
	p := func(name, value string) runners.Property { return runners.Property{Name: name, Value: value} }
	for _, c := range []struct {
		rule   string
		list   []runners.Property
		cpus   float64
		memory int64
	}{
		{"nothing", []runners.Property{p("network", "off"), p("limit-processes", "7")}, 0, 0},
		{"both", []runners.Property{p("limit-cpus", "1.5"), p("limit-memory", "2GiB")}, 1.5, 2 << 30},
		{"the lower of two", []runners.Property{p("limit-cpus", "4"), p("limit-cpus", "2")}, 2, 0},
		{"Buildfarm's are limits only", []runners.Property{p("max-cores", "64"), p("max-mem", "1TB")}, 0, 0},
		{"what is malformed counts as none", []runners.Property{p("limit-cpus", "NaN"), p("limit-memory", "much")}, 0, 0},
		{"one with a socket waits for others", []runners.Property{p("limit-cpus", "4"), p("remoteApisSocketPath", "s")}, 0, 0},
	} {
		if cpus, memory := runners.Needs(c.list); cpus != c.cpus || memory != c.memory {
			t.Errorf("%s: %v CPUs and %d bytes, want %v and %d", c.rule, cpus, memory, c.cpus, c.memory)
		}
	}
}
