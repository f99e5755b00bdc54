// Package cgroup holds processes to limits of memory, CPU and number, by control
// groups of version 2 or 1, whichever the machine has and lets this process write.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Limits of a Group. 0 is none.
type Limits struct {
	CPUs      float64 // of a second each second
	Memory    int64   // bytes, page cache and temporary file systems included
	Processes int64   // and threads
}

// Manager makes groups below this process's own.
type Manager struct {
	// dirs are the directories below which groups are made, by controller; with
	// version 2 the same one for all.
	dirs    map[string]string
	version int
}

// The controllers, as version 1 calls them.
const (
	cpu    = "cpu"
	memory = "memory"
	pids   = "pids"
)

// namePrefix begins the name of every group, with the process id of its maker.
const namePrefix = "bgrid-"

// Find returns a manager, or says why groups cannot be made here. It removes what
// ended processes left.
func Find() (*Manager, error) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("find own control group: %w", err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find control groups: %w", err)
	}
	m, err := locate(string(own), string(mounts))
	if err != nil {
		return nil, err
	}
	m.removeOld()
	return m, m.prepare()
}

// Version returns 1 or 2.
func (m *Manager) Version() int { return m.version }

// locate finds where this process is in each hierarchy; a pure function of the two
// files in /proc.
func locate(own, mountinfo string) (*Manager, error) {
	paths := map[string]string{} // by controller; "" is version 2
	for line := range strings.Lines(own) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for _, controller := range strings.Split(parts[1], ",") {
			paths[controller] = parts[2]
		}
	}
	m := &Manager{dirs: map[string]string{}, version: 1}
	unified := ""
	for line := range strings.Lines(mountinfo) {
		at, rootIn, kind, options, ok := mountIn(line)
		switch {
		case !ok:
		case kind == "cgroup2":
			unified = below(at, rootIn, paths[""])
		case kind == "cgroup":
			for _, option := range strings.Split(options, ",") {
				if path, known := paths[option]; known && m.dirs[option] == "" && (option == cpu || option == memory || option == pids) {
					m.dirs[option] = below(at, rootIn, path)
				}
			}
		}
	}
	if len(m.dirs) == 0 && unified != "" {
		m.version = 2
		for _, controller := range []string{cpu, memory, pids} {
			m.dirs[controller] = unified
		}
	}
	if len(m.dirs) == 0 {
		return nil, errors.New("no control groups are mounted")
	}
	return m, nil
}

// mountIn reads a line of mountinfo.
func mountIn(line string) (at, root, kind, options string, ok bool) {
	before, after, found := strings.Cut(line, " - ")
	b, a := strings.Fields(before), strings.Fields(after)
	if !found || len(b) < 5 || len(a) < 3 {
		return "", "", "", "", false
	}
	return b[4], b[3], a[0], a[2], true
}

// below joins a mount point and a group's path, of which the mount may show a part
// only.
func below(at, root, path string) string {
	if rest, ok := strings.CutPrefix(path, root); ok && root != "/" {
		path = rest
	}
	return filepath.Join(at, path)
}

// prepare checks that groups can be made, and with version 2 that they have
// controllers: this process moves into a group of its own then, as a group that
// hands out controllers must not hold processes.
func (m *Manager) prepare() error {
	if m.version == 2 {
		if err := m.delegate(m.dirs[memory]); err != nil {
			return err
		}
	}
	g, err := m.Group("probe")
	if err != nil {
		return err
	}
	return g.Remove()
}

const controllers = "+cpu +memory +pids"

func (m *Manager) delegate(dir string) error {
	enable := func() error { return write(dir, "cgroup.subtree_control", controllers) }
	if enable() == nil {
		return nil
	}
	leaf := filepath.Join(dir, "bgrid-node")
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make control group: %w", err)
	}
	if err := write(leaf, "cgroup.procs", strconv.Itoa(os.Getpid())); err != nil {
		return err
	}
	return enable()
}

// removeOld removes the groups of processes that are gone.
func (m *Manager) removeOld() {
	for _, dir := range m.dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			rest, ours := strings.CutPrefix(e.Name(), namePrefix)
			id, _, _ := strings.Cut(rest, "-")
			pid, err := strconv.Atoi(id)
			if ours && err == nil && pid != os.Getpid() && unix.Kill(pid, 0) == unix.ESRCH {
				_ = unix.Rmdir(filepath.Join(dir, e.Name()))
			}
		}
	}
}

// Group is a control group.
type Group struct {
	m    *Manager
	dirs map[string]string // by controller
	set  Limits
}

// Group makes a group; name tells those of this process apart.
func (m *Manager) Group(name string) (*Group, error) {
	g := &Group{m: m, dirs: map[string]string{}}
	for controller, dir := range m.dirs {
		path := filepath.Join(dir, namePrefix+strconv.Itoa(os.Getpid())+"-"+name)
		if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, errors.Join(fmt.Errorf("make control group: %w", err), g.Remove())
		}
		g.dirs[controller] = path
	}
	return g, nil
}

// Remove removes the group, which must be without processes.
func (g *Group) Remove() error {
	var err error
	for _, dir := range g.distinct() {
		if e := unix.Rmdir(dir); e != nil && e != unix.ENOENT {
			err = fmt.Errorf("remove control group %s: %w", dir, e)
		}
	}
	return err
}

func (g *Group) distinct() []string {
	var dirs []string
	seen := map[string]bool{}
	for _, dir := range g.dirs {
		if !seen[dir] {
			seen[dir] = true
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// Add puts a process into the group; what it starts is in it, too.
func (g *Group) Add(pid int) error {
	for _, dir := range g.distinct() {
		if err := write(dir, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	return nil
}

func write(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("set %s: %w", file, err)
	}
	_, err = f.WriteString(value)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("set %s: %w", file, err)
	}
	return nil
}
