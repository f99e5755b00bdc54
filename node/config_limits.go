package node

import (
	"fmt"
	"math"
	"strconv"

	"github.com/bgrid-node/bgrid-node/runners"
)

// noLimit is the value of a --limit option that means: none.
const noLimit = "none"

// limitOptions bound what each action may use. Platform properties of the same
// names lower the limits for one action.
func limitOptions() []Option {
	return []Option{
		sizeOption(groupExecution, "tree-cache-size", "10% max 50GiB",
			"disk use of the chroots and root file systems that actions share in --work-dir", func(c *Config) *Size { return &c.TreeCacheSize }),
		limitOption("limit-cpus", "N", noLimit, "CPUs that one action may keep busy, such as 1.5; needs control groups",
			func(c *Config) *float64 { return &c.Limits.CPUs }, parseCPUs, formatCPUs),
		limitOption("limit-memory", "SIZE", noLimit, "memory of one action, all its processes together (where no control groups can be made: of each process)",
			func(c *Config) *int64 { return &c.Limits.Memory }, parseLimitBytes, formatBytes),
		limitOption("limit-processes", "N", "4096", "processes and threads of one action at a time",
			func(c *Config) *int64 { return &c.Limits.Processes }, parseLimitCount, formatCount),
		limitOption("limit-output", "SIZE", "1GiB", "stdout of one action, and as much of stderr",
			func(c *Config) *int64 { return &c.Limits.Output }, parseLimitBytes, formatBytes),
		limitOption("limit-file-size", "SIZE", "64GiB", "bytes of any one file that an action writes",
			func(c *Config) *int64 { return &c.Limits.FileSize }, parseLimitBytes, formatBytes),
	}
}

func limitOption[T int64 | float64](name, arg, def, help string, field func(*Config) *T, parse func(string) (T, error), format func(T) string) Option {
	o := Option{
		Group: groupExecution, Name: name, Arg: arg, Default: def,
		Help: "most " + help + "; `none` for no limit; the platform property `" + name + "` lowers it",
	}
	o.set, o.get = scalar(field, func(text string) (T, error) {
		if text == noLimit {
			return 0, nil
		}
		return parse(text)
	}, func(v T) string {
		if v == 0 {
			return noLimit
		}
		return format(v)
	})
	return o
}

func parseCPUs(text string) (float64, error) {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 0.01) || math.IsInf(n, 0) {
		return 0, fmt.Errorf("%q: want a number of CPUs from 0.01, or none", text)
	}
	return n, nil
}

func formatCPUs(n float64) string { return strconv.FormatFloat(n, 'g', -1, 64) }

func parseLimitBytes(text string) (int64, error) { return parseBytes(text) }

func parseLimitCount(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q: want a number from 1, or none", text)
	}
	return n, nil
}

func formatCount(n int64) string { return strconv.FormatInt(n, 10) }

// defaultCarried lists the platform properties that are carried by default.
func defaultCarried() string {
	text := defaultCarry
	for _, name := range runners.LimitNames() {
		text += "," + name
	}
	return text
}
