package node

import (
	"errors"
	"fmt"
	"net"
	"slices"
)

const groupWorker = "Worker"

// WorkerTable returns the options of a remote worker: some of its own, and those
// of Table that mean the same for it.
func WorkerTable() []Option {
	shared := map[string]Option{}
	for _, o := range Table() {
		shared[o.Name] = o
	}
	own := workerOptions()
	table := own[:0:0]
	table = append(table, own[0], shared["instance"], own[1])
	for _, name := range []string{"slots", "runner", "hide-path"} {
		table = append(table, shared[name])
	}
	table = append(table, own[2])
	for _, name := range []string{"work-dir", "work-cache-size", "tree-cache-size",
		"limit-cpus", "limit-memory", "limit-processes", "limit-output", "limit-file-size", "drain-timeout", "log-level", "log-format"} {
		table = append(table, shared[name])
	}
	for i := range table {
		table[i].Group = groupWorker
	}
	return table
}

// workerOptions are the options that only a remote worker has, or that mean
// something else for it.
func workerOptions() []Option {
	server := Option{
		Name: "server", Arg: "HOST:PORT", List: true, Default: "127.0.0.1:50051",
		Help: "addresses of equal servers, the nodes of one cluster: those that are ready are used",
	}
	server.set, server.get = list(func(c *Config) *[]string { return &c.Servers }, server.Default, parseText, formatText)
	dataDir := dirOption("", "data-dir", "$XDG_STATE_HOME/bgrid-worker, or ~/.local/state/bgrid-worker",
		"where the worker keeps its name, and what it works with; one process at a time", func(c *Config) *string { return &c.DataDir })
	dataDir.initial = func(_ *Config, m Machine) string { return m.stateDirOf("bgrid-worker") }
	property := platformOption("property", "platform properties that the worker offers beside `runner`; `default` stands for the default ones")
	return []Option{server, dataDir, property}
}

// everyOption is what may be named in the environment and in files: one of either
// can be for servers and workers alike.
func everyOption() []Option {
	all := Table()
	for _, o := range workerOptions() {
		if !slices.ContainsFunc(all, func(have Option) bool { return have.Name == o.Name }) {
			all = append(all, o)
		}
	}
	return all
}

// validateWorker names the first option of WorkerTable whose value cannot work.
func (c *Config) validateWorker() error {
	if len(c.Servers) == 0 {
		return errors.New("--server: name one at least")
	}
	for _, s := range c.Servers {
		if host, port, err := net.SplitHostPort(s); err != nil || host == "" || port == "" {
			return fmt.Errorf("--server %q: want HOST:PORT", s)
		}
	}
	if c.Slots < 1 || c.Slots > maxSlots {
		return fmt.Errorf("--slots %d: want 1 to %d", c.Slots, maxSlots)
	}
	if c.DrainTimeout < 0 {
		return fmt.Errorf("--drain-timeout %s: want 0 or more", c.DrainTimeout)
	}
	return c.validateNames()
}
