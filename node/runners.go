package node

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/bubblewrap"
	"github.com/bgrid-node/bgrid-node/runners/cgroup"
	"github.com/bgrid-node/bgrid-node/runners/hosttools"
	"github.com/bgrid-node/bgrid-node/runners/userchroot"
)

// propertyRunner is the platform property that names runners.
const propertyRunner = "runner"

// autoRunners is the value of --runner that stands for each that works here.
const autoRunners = "auto"

// runnerKind is a runner that local workers can have.
type runnerKind struct {
	name string
	open func(c *Config, groups *cgroup.Manager, log *slog.Logger) (closingRunner, error)
}

type closingRunner interface {
	runners.Runner
	Close() error
}

func runnerKinds() []runnerKind {
	return []runnerKind{
		{hosttools.Name, func(c *Config, groups *cgroup.Manager, log *slog.Logger) (closingRunner, error) {
			return hosttools.New(hosttools.Options{Dir: c.WorkDir, Groups: groups, Logger: log})
		}},
		{bubblewrap.Name, func(c *Config, groups *cgroup.Manager, log *slog.Logger) (closingRunner, error) {
			return bubblewrap.New(bubblewrap.Options{Dir: c.WorkDir, Hide: c.hidden(), Groups: groups, Logger: log})
		}},
		{userchroot.Name, func(c *Config, groups *cgroup.Manager, log *slog.Logger) (closingRunner, error) {
			return userchroot.New(userchroot.Options{Dir: c.WorkDir, Groups: groups, Logger: log})
		}},
	}
}

func runnerNames() []string {
	var names []string
	for _, k := range runnerKinds() {
		names = append(names, k.name)
	}
	return names
}

// hidden lists the directories that no sandboxed action sees.
func (c *Config) hidden() []string { return append([]string{c.DataDir}, c.HidePath...) }

// wantedRunners lists the runners that were asked for: by --runner, or by the
// property runner of --platform as a BuildGrid worker has it; nil: whatever works.
func (c *Config) wantedRunners() []string {
	if len(c.Runners) > 0 && !slices.Contains(c.Runners, autoRunners) {
		return c.Runners
	}
	var names []string
	for _, p := range c.Platform {
		if p.Name == propertyRunner {
			names = append(names, p.Value)
		}
	}
	return names
}

// openRunners opens the runners that were asked for. Without any, each that works
// on this machine: the log says which do not, and why.
func (n *Node) openRunners() ([]runners.Runner, error) {
	return openRunners(&n.config, n.logger, &n.closers)
}

func openRunners(c *Config, log *slog.Logger, all *closers) ([]runners.Runner, error) {
	wanted := c.wantedRunners()
	groups, err := cgroup.Find()
	if err != nil {
		log.Info("no control groups can be made here, so that memory and processes are limited less exactly; `bgrid-node doctor` says more", keyError, err)
	}
	var open []runners.Runner
	for _, kind := range runnerKinds() {
		if len(wanted) > 0 && !slices.Contains(wanted, kind.name) {
			continue
		}
		r, err := kind.open(c, groups, log)
		if err != nil && (len(wanted) > 0 || kind.name == hosttools.Name) {
			return nil, fmt.Errorf("--runner %s: %w", kind.name, err)
		}
		if err != nil {
			log.Warn("a runner is not available; `bgrid-node doctor` says more", "runner", kind.name, "error", err)
			continue
		}
		all.add(kind.name+" runner", r.Close)
		open = append(open, r)
	}
	return open, nil
}

// offered returns the properties of the local worker: those configured, with a
// runner for each that is open.
func (c *Config) offered(open []runners.Runner) []Property {
	var list []Property
	for _, r := range open {
		list = append(list, Property{propertyRunner, r.Name()})
	}
	for _, p := range c.Platform {
		if p.Name != propertyRunner {
			list = append(list, p)
		}
	}
	return list
}
