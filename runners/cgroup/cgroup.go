// Package cgroup holds processes to limits of memory, CPU and number, by control
// groups of version 2 or 1, whichever the machine has and lets this process write.
package cgroup

import (
	"cmp"
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
	if err := m.prepare(); err != nil {
		return nil, err
	}
	return m, nil
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

// prepare keeps the controllers with which groups can be made. With version 2 this
// process may have to move into a group of its own, as a group that hands out
// controllers must not hold processes.
func (m *Manager) prepare() (err error) {
	given := map[string]bool{cpu: true, memory: true, pids: true}
	if m.version == 2 {
		if given, err = delegate(m.dirs[memory]); err != nil {
			return err
		}
	}
	var refused error
	for controller, dir := range m.dirs {
		probe := filepath.Join(dir, namePrefix+strconv.Itoa(os.Getpid())+"-probe-"+controller)
		err := os.Mkdir(probe, 0o755)
		if err == nil {
			err = os.Remove(probe)
		}
		if err != nil {
			refused = fmt.Errorf("make control group: %w", err)
		}
		if err != nil || !given[controller] {
			delete(m.dirs, controller)
		}
	}
	if len(m.dirs) == 0 {
		return cmp.Or(refused, errors.New("no controllers are handed down"))
	}
	return nil
}

// delegate hands the controllers down, as far as there are any.
func delegate(dir string) (given map[string]bool, err error) {
	enable := func() (err error) {
		for _, controller := range []string{cpu, memory, pids} {
			if e := write(dir, subtreeControl, "+"+controller); e != nil {
				err = e
			}
		}
		return err
	}
	if enable() != nil {
		leaf := filepath.Join(dir, leafName)
		if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make control group: %w", err)
		}
		if err := write(leaf, "cgroup.procs", strconv.Itoa(os.Getpid())); err != nil {
			return nil, err
		}
		_ = enable() // what is given shows
	}
	b, err := os.ReadFile(filepath.Join(dir, subtreeControl))
	if err != nil {
		return nil, fmt.Errorf("read controllers: %w", err)
	}
	given = map[string]bool{}
	for _, controller := range strings.Fields(string(b)) {
		given[controller] = true
	}
	return given, nil
}

const subtreeControl = "cgroup.subtree_control"

// leafName is the group of version 2 into which this process moves.
const leafName = "bgrid-node"

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
