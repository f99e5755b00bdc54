package node

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Machine is what defaults depend on.
type Machine struct {
	Host    string // its name; may be empty
	Cores   int
	ISA     string   // as the platform property has it
	Environ []string // KEY=value
}

// ThisMachine describes the machine that the process runs on.
func ThisMachine() Machine {
	m := localMachine()
	m.Environ = os.Environ()
	m.Host, _ = os.Hostname() // "" has a stand-in
	return m
}

// localMachine is ThisMachine without the environment.
func localMachine() Machine { return Machine{Cores: runtime.NumCPU(), ISA: isa(runtime.GOARCH)} }

// isa names an architecture as BuildGrid's workers do.
func isa(goarch string) string {
	switch goarch {
	case "amd64":
		return "x86-64"
	case "386":
		return "x86-32"
	case "arm64":
		return "aarch64"
	case "arm":
		return "aarch32"
	case "ppc64le":
		return "power-isa-le"
	case "ppc64":
		return "power-isa-be"
	}
	return goarch
}

// hostname returns the machine's name, or a stand-in.
func (m Machine) hostname() string {
	if m.Host == "" {
		return "node"
	}
	return m.Host
}

func (m Machine) platform() string {
	return "OSFamily=linux,ISA=" + m.ISA
}

func (m Machine) getenv(key string) string {
	for i := len(m.Environ) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(m.Environ[i], key+"="); ok {
			return v
		}
	}
	return ""
}

// stateDir follows the XDG base directory specification: a relative path in the
// variable is ignored. It is empty when there is no home directory either.
func (m Machine) stateDir() string { return m.stateDirOf("bgrid-node") }

func (m Machine) stateDirOf(name string) string {
	if dir := m.getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, name)
	}
	if home := m.getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", name)
	}
	return ""
}
