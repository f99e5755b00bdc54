package node

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Groups of options, in the order of help and documentation.
const (
	groupServing   = "Serving"
	groupStorage   = "Storage"
	groupExecution = "Execution"
	groupRunning   = "Running"
)

const (
	defaultMatch = "runner,OSFamily,ISA"
	defaultCarry = "chrootRootDigest,container-image,dockerImage,dockerNetwork,dockerPrivileged,dockerRunAsRoot," +
		"network,OSFamilyVersion,Pool,remoteApisSocketPath,requires-network,unixGID,unixUID"
)

// Table returns the options, in the order in which they are documented. A later
// row's default may depend on the value of an earlier one.
func Table() []Option {
	var table []Option
	for _, group := range [][]Option{servingOptions(), storageOptions(), executionOptions(), limitOptions(), clusterOptions(), runningOptions()} {
		table = append(table, group...)
	}
	return table
}

func servingOptions() []Option {
	return []Option{
		textOption(groupServing, "listen", "HOST:PORT", "127.0.0.1:50051",
			"address of the gRPC services", func(c *Config) *string { return &c.Listen }),
		textOption(groupServing, "http-listen", "HOST:PORT", "127.0.0.1:8080",
			"address of the status page, metrics, health and profiles; `off` for none", func(c *Config) *string { return &c.HTTPListen }),
		boolOption(groupServing, "allow-insecure-public-listen",
			"allow addresses that other machines reach, although there is no authentication yet: whoever reaches them can run commands here",
			func(c *Config) *bool { return &c.AllowInsecurePublicListen }),
		textOption(groupServing, "instance", "NAME", "buildgrid",
			"instance name of all services", func(c *Config) *string { return &c.Instance }),
		boolOption(groupServing, "empty-instance",
			"take an empty instance name for that of --instance", func(c *Config) *bool { return &c.EmptyInstance }),
	}
}

func storageOptions() []Option {
	dataDir := dirOption(groupStorage, "data-dir", "$XDG_STATE_HOME/bgrid-node, or ~/.local/state/bgrid-node",
		"where everything is kept; one process at a time", func(c *Config) *string { return &c.DataDir })
	dataDir.initial = func(_ *Config, m Machine) string { return m.stateDir() }
	maxEntries := countOption(groupStorage, "max-cache-entries", "1000000",
		"entries of the action cache before the oldest are evicted; 0 for no limit but the disk", func(c *Config) *int { return &c.MaxCacheEntries })
	return []Option{
		dataDir,
		sizeOption(groupStorage, "cas-max-size", "10% max 100GiB",
			"disk use of the content-addressable storage, as bytes or as a part of the disk", func(c *Config) *Size { return &c.CASMaxSize }),
		durationOption(groupStorage, "protection-window", "3h",
			"how long a blob that a client was told to be present is kept, under any pressure", func(c *Config) *time.Duration { return &c.ProtectionWindow }),
		durationOption(groupStorage, "retention", "24h",
			"how long finished operations can be looked up", func(c *Config) *time.Duration { return &c.Retention }),
		maxEntries,
	}
}

func executionOptions() []Option {
	slots := countOption(groupExecution, "slots", "one a core",
		"actions that the local workers run at a time; 0 for none", func(c *Config) *int { return &c.Slots })
	slots.initial = func(_ *Config, m Machine) string { return strconv.Itoa(m.Cores) }
	workDir := dirOption(groupExecution, "work-dir", "work in --data-dir",
		"where the local workers lay out actions and keep their input files", func(c *Config) *string { return &c.WorkDir })
	workDir.initial = func(c *Config, _ Machine) string { return filepath.Join(c.DataDir, "work") }
	runner := Option{
		Group: groupExecution, Name: "runner", Arg: "NAME", List: true, Default: autoRunners,
		Help: "how the local workers run actions, the values of the property `runner` that they offer: " + strings.Join(runnerNames(), ", ") +
			"; `auto` is each that works on this machine, see [runners.md](runners.md)",
	}
	runner.set, runner.get = list(func(c *Config) *[]string { return &c.Runners }, autoRunners, parseRunner, formatText)
	hide := Option{
		Group: groupExecution, Name: "hide-path", Arg: "DIR", List: true, Default: "",
		Help: "directories of this machine that sandboxed actions do not see, beside --data-dir, --work-dir, /run and /tmp",
	}
	hide.set, hide.get = list(func(c *Config) *[]string { return &c.HidePath }, "", parseDir, formatText)
	return []Option{
		slots,
		runner,
		hide,
		platformOption("platform", "platform properties that the local workers offer beside `runner`; `default` stands for the default ones"),
		keysOption("match-property", defaultMatch, "keys of platform properties that a worker must offer with the action's value; those of --platform always are",
			func(c *Config) *[]string { return &c.MatchProperty }),
		keysOption("carry-property", defaultCarried(), "keys of platform properties that are handed to the worker and never matched; actions with a key in neither list are refused",
			func(c *Config) *[]string { return &c.CarryProperty }),
		durationOption(groupExecution, "max-execution-timeout", "2h",
			"longest time-out that an action may ask for, and the time-out of those that ask for none", func(c *Config) *time.Duration { return &c.MaxExecutionTimeout }),
		durationOption(groupExecution, "worker-expiry", "30s",
			"how long a remote worker may be silent before its actions are given to others", func(c *Config) *time.Duration { return &c.WorkerExpiry }),
		durationOption(groupExecution, "unmatchable-grace", "0s",
			"how long an action waits while no worker offers what it needs, before it fails with FAILED_PRECONDITION; 0 for ever", func(c *Config) *time.Duration { return &c.UnmatchableGrace }),
		workDir,
		sizeOption(groupExecution, "work-cache-size", "5% max 20GiB",
			"disk use of the input files kept in --work-dir", func(c *Config) *Size { return &c.WorkCacheSize }),
	}
}

func platformOption(name, help string) Option {
	o := Option{Group: groupExecution, Name: name, Arg: "KEY=VALUE", List: true, Default: "OSFamily=linux,ISA=<this machine's>", Help: help}
	o.initial = func(_ *Config, m Machine) string { return m.platform() }
	o.set, o.get = list(func(c *Config) *[]Property { return &c.Platform }, localMachine().platform(), parseProperty,
		func(p Property) string { return p.Name + "=" + p.Value })
	return o
}

func runningOptions() []Option {
	level := Option{Group: groupRunning, Name: "log-level", Arg: "LEVEL", Default: "info", Help: "debug, info, warn or error"}
	level.set, level.get = scalar(func(c *Config) *slog.Level { return &c.LogLevel }, parseLevel,
		func(l slog.Level) string { return strings.ToLower(l.String()) })
	format := Option{Group: groupRunning, Name: "log-format", Arg: "FORMAT", Default: "auto", Help: "text, json, or auto: text on a terminal, JSON otherwise"}
	format.set, format.get = scalar(func(c *Config) *string { return &c.LogFormat }, parseLogFormat, formatText)
	return []Option{
		durationOption(groupRunning, "drain-timeout", "1m",
			"after SIGTERM or SIGINT: how long running actions may take to finish before they are requeued for the next start", func(c *Config) *time.Duration { return &c.DrainTimeout }),
		level,
		format,
	}
}

func parseRunner(s string) (string, error) {
	if names := append(runnerNames(), autoRunners); !slices.Contains(names, s) {
		return "", fmt.Errorf("%q: want one of %s", s, strings.Join(names, ", "))
	}
	return s, nil
}

func parseLogFormat(s string) (string, error) {
	switch s {
	case "auto", "text", "json":
		return s, nil
	}
	return "", fmt.Errorf("%q: want auto, text or json", s)
}

func textOption(group, name, arg, def, help string, field func(*Config) *string) Option {
	o := Option{Group: group, Name: name, Arg: arg, Default: def, Help: help}
	o.set, o.get = scalar(field, parseText, formatText)
	return o
}

func dirOption(group, name, def, help string, field func(*Config) *string) Option {
	o := Option{Group: group, Name: name, Arg: "DIR", Default: def, Help: help}
	o.set, o.get = scalar(field, parseDir, formatText)
	return o
}

func boolOption(group, name, help string, field func(*Config) *bool) Option {
	o := Option{Group: group, Name: name, Default: "false", Help: help, Boolean: true}
	o.set, o.get = scalar(field, parseBool, strconv.FormatBool)
	return o
}

func countOption(group, name, def, help string, field func(*Config) *int) Option {
	o := Option{Group: group, Name: name, Arg: "N", Default: def, Help: help}
	o.set, o.get = scalar(field, parseCount, strconv.Itoa)
	return o
}

func sizeOption(group, name, def, help string, field func(*Config) *Size) Option {
	o := Option{Group: group, Name: name, Arg: "SIZE", Default: def, Help: help}
	o.set, o.get = scalar(field, parseSize, Size.String)
	return o
}

func durationOption(group, name, def, help string, field func(*Config) *time.Duration) Option {
	o := Option{Group: group, Name: name, Arg: "DURATION", Default: def, Help: help}
	o.set, o.get = scalar(field, parseDuration, formatDuration)
	return o
}

func keysOption(name, def, help string, field func(*Config) *[]string) Option {
	o := Option{
		Group: groupExecution, Name: name, Arg: "KEY", Default: def, List: true,
		Help: help + "; `default` stands for the default ones",
	}
	o.set, o.get = list(field, def, parseText, formatText)
	return o
}
