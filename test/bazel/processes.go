package bazel

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Processes is Bazel's summary of how the actions of a build were done: how many
// by which strategy.
type Processes map[string]int

// Strategies that Bazel names in its summary.
const (
	Internal = "internal" // done by Bazel itself: no command
	Remote   = "remote"
	CacheHit = "remote cache hit"
)

var (
	summaryLine = regexp.MustCompile(`(?m)^INFO: (\d+) process(?:es)?(?:: (.*))?\.$`)
	summaryPart = regexp.MustCompile(`^(\d+) (.+)$`)
)

// parseProcesses reads the last line of the form "INFO: N processes: M internal,
// K remote." An output without one gives nil.
func parseProcesses(output string) (Processes, error) {
	lines := summaryLine.FindAllStringSubmatch(output, -1)
	if lines == nil {
		return nil, nil
	}
	last := lines[len(lines)-1]
	p := Processes{}
	sum := 0
	for part := range strings.SplitSeq(last[2], ", ") {
		if part == "" {
			continue
		}
		fields := summaryPart.FindStringSubmatch(part)
		if fields == nil {
			return nil, fmt.Errorf("read Bazel's summary: %q", last[0])
		}
		n, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, fmt.Errorf("read Bazel's summary: %w", err)
		}
		p[fields[2]] += n
		sum += n
	}
	if total, err := strconv.Atoi(last[1]); err != nil || total != sum {
		return nil, fmt.Errorf("read Bazel's summary: %q does not add up", last[0])
	}
	return p, nil
}

// Spawned returns how many commands were run or answered from a cache.
func (p Processes) Spawned() int {
	sum := 0
	for name, n := range p {
		if name != Internal {
			sum += n
		}
	}
	return sum
}

// AllBy tells whether every command was done by the given strategy, and there was
// at least one.
func (p Processes) AllBy(strategy string) bool {
	return p.Spawned() > 0 && p.Spawned() == p[strategy]
}
