package runners

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Limits are what an action may use. 0 is no limit of the runner's own.
type Limits struct {
	CPUs      float64 // of a second each second
	Memory    int64   // bytes, of all processes together where control groups allow it
	Processes int64   // and threads, at a time
	Output    int64   // bytes of stdout, and as many of stderr
	FileSize  int64   // bytes of any one file
}

// Names of the platform properties by which an action asks for tighter limits than
// the worker's. Sizes are bytes, or have a unit such as 512MiB or 4GB; the time is
// seconds, or a duration such as 10m.
const (
	limitCPUs      = "limit-cpus"
	limitMemory    = "limit-memory"
	limitProcesses = "limit-processes"
	limitOutput    = "limit-output"
	limitFileSize  = "limit-file-size"
	limitTime      = "limit-time"
	maxCores       = "max-cores" // Buildfarm's
	maxMem         = "max-mem"
)

// LimitNames lists the platform properties that limit an action.
func LimitNames() []string {
	return []string{limitCPUs, limitMemory, limitProcesses, limitOutput, limitFileSize, limitTime, maxCores, maxMem}
}

// limitsOf returns the tighter of the worker's limits and those that the action
// asks for. A malformed value is a *Failure.
func limitsOf(l *Lease, most Limits) (limits Limits, timeout time.Duration, err error) {
	limits, timeout = most, l.Timeout
	for _, p := range l.Properties {
		var ok bool
		switch p.Name {
		case limitCPUs, maxCores:
			var n float64
			n, err = strconv.ParseFloat(p.Value, 64)
			ok = err == nil && n > 0 && !math.IsInf(n, 0)
			limits.CPUs = tighter(limits.CPUs, n)
		case limitMemory, maxMem:
			limits.Memory, ok = tighterSize(limits.Memory, p.Value)
		case limitProcesses:
			limits.Processes, ok = tighterSize(limits.Processes, p.Value)
		case limitOutput:
			limits.Output, ok = tighterSize(limits.Output, p.Value)
		case limitFileSize:
			limits.FileSize, ok = tighterSize(limits.FileSize, p.Value)
		case limitTime:
			var d time.Duration
			d, ok = parseTime(p.Value)
			timeout = tighter(timeout, d)
		default:
			continue
		}
		if !ok {
			return limits, timeout, Unfit("the platform property %s is %q: want %s", p.Name, short(p.Value), wanted(p.Name))
		}
	}
	return limits, timeout, nil
}

func wanted(name string) string {
	switch name {
	case limitTime:
		return "a time above 0, such as 90 (seconds) or 10m"
	case limitCPUs, maxCores, limitProcesses:
		return "a number above 0"
	}
	return "a size above 0, such as 1000000 (bytes), 512MiB or 4GB"
}

// tighter returns the smaller of two limits, of which 0 is none.
func tighter[T int64 | float64 | time.Duration](a, b T) T {
	if a == 0 || (b > 0 && b < a) {
		return b
	}
	return a
}

func tighterSize(most int64, text string) (int64, bool) {
	n, ok := parseSize(text)
	return tighter(most, n), ok
}

// parseSize reads "1000", "512MiB" or "4GB".
func parseSize(text string) (int64, bool) {
	number, unit := text, int64(1)
	for _, u := range []struct {
		name string
		size int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"kB", 1e3}} {
		if rest, ok := strings.CutSuffix(text, u.name); ok {
			number, unit = rest, u.size
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64/unit {
		return 0, false
	}
	return n * unit, true
}

// parseTime reads "90" (seconds) or "10m".
func parseTime(text string) (time.Duration, bool) {
	if n, err := strconv.ParseInt(text, 10, 32); err == nil {
		return time.Duration(n) * time.Second, n > 0
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d > 0
}
