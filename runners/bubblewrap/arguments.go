package bubblewrap

import (
	"path"
	"strconv"
	"strings"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/props"
	"github.com/bgrid-node/bgrid-node/runners/shim"
)

// machine is what the argument list depends on and no action changes.
type machine struct {
	root      bool     // this process is root, and so are actions, without its rights
	boundProc bool     // the kernel refuses a fresh /proc: the host's, read-only
	ownNet    bool     // bwrap makes the network, since the shim has none of its own
	varTmp    bool     // the host has a directory /var/tmp
	keepRun   []string // what tools need of the host's /run
	hide      []string // absolute, clean: directories of the host that no action sees
}

// sandbox is one action's.
type sandbox struct {
	root       string // of the host: the input root, or what it was merged to
	isRootFS   bool   // it is to be the root directory
	keepTmp    bool   // with isRootFS: /tmp has files of the action
	workingDir string // relative to root
	script     string // on the host: the command line, "" when bwrap takes it itself
	socket     *runners.Socket
	subtrees   []runners.Subtree
	props.Sandbox
}

// workTree is where the input root is when the host's files are around it. It is
// the same for each action, so that paths in outputs are, too.
const workTree = "/run/bgrid/build"

// arguments returns bwrap's options: a pure function. The order matters, each one
// is done on top of those before it.
func arguments(m machine, s sandbox) []string {
	args := []string{
		"--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", "bgrid",
		"--uid", strconv.Itoa(s.UID), "--gid", strconv.Itoa(s.GID),
		"--cap-drop", "ALL", "--new-session", "--die-with-parent",
		"--json-status-fd", strconv.Itoa(shim.StatusFD),
	}
	if m.ownNet && !s.Network {
		args = append(args, "--unshare-net")
	}
	if s.isRootFS {
		args = append(args, "--bind", s.root, "/")
		args = append(args, s.divide("/")...)
	} else {
		args = append(args, "--ro-bind", "/", "/")
	}
	args = append(args, "--dev", "/dev")
	if s.script != "" {
		args = append(args, "--ro-bind", s.script, scriptPath)
	}
	if m.boundProc {
		args = append(args, "--ro-bind", "/proc", "/proc")
	} else {
		args = append(args, "--proc", "/proc")
		if m.root {
			// The settings of the host's kernel belong to root, and so does the action.
			args = append(args, "--ro-bind", "/proc/sys", "/proc/sys")
			for _, part := range []string{"sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi"} {
				args = append(args, "--ro-bind-try", "/proc/"+part, "/proc/"+part)
			}
		}
	}
	if !s.isRootFS || !s.keepTmp {
		args = append(args, "--perms", "1777", "--tmpfs", "/tmp")
	}
	if s.socket != nil { // only where there are layers: the input root is the root directory
		args = append(args, "--bind", s.socket.Host, path.Join("/", s.socket.Path))
	}
	top := "/"
	if !s.isRootFS {
		args = append(args, aroundWorkTree(m, s)...)
		args = append(args, s.divide(workTree)...)
		top = workTree
	}
	args = append(args, s.seal(top)...)
	return append(args, "--chdir", path.Join(top, s.workingDir))
}

// aroundWorkTree covers what of the host's files is not for actions, and puts the
// input root among the rest.
func aroundWorkTree(m machine, s sandbox) []string {
	// Reading is not all that can be done to what is in /run: a socket can be
	// connected to on a read-only file system, too.
	args := []string{"--tmpfs", "/run"}
	covered := []string{"/tmp", "/run"}
	if m.varTmp {
		args = append(args, "--perms", "1777", "--tmpfs", "/var/tmp")
		covered = append(covered, "/var/tmp")
	}
	for _, dir := range m.keepRun {
		args = append(args, "--ro-bind", dir, dir)
	}
	if s.Network {
		args = append(args, "--ro-bind-try", "/run/systemd/resolve", "/run/systemd/resolve")
	}
	for _, dir := range m.hide {
		if !beneathAny(dir, covered) {
			args = append(args, "--perms", "0000", "--tmpfs", dir)
		}
	}
	return append(args, "--bind", s.root, workTree)
}

// divide makes mounts of their own of the parts of the input root that are
// read-only, or writable again; the last one decides for what is below it.
func (s sandbox) divide(top string) []string {
	var args []string
	for _, t := range s.subtrees {
		if t.Path != "" && !s.covers(t.Path) {
			args = append(args, "--bind", path.Join(s.root, t.Path), path.Join(top, t.Path))
		}
	}
	return args
}

// seal makes them read-only, when all else is mounted: until then the places of
// other mounts can be made in them.
func (s sandbox) seal(top string) []string {
	var args []string
	for _, t := range s.subtrees {
		if t.ReadOnly && !s.covers(t.Path) {
			args = append(args, "--remount-ro", path.Join(top, t.Path))
		}
	}
	return args
}

// covers tells whether something of the sandbox's own takes the place of a
// directory of the input root.
func (s sandbox) covers(dir string) bool {
	if !s.isRootFS {
		return false
	}
	first, _, _ := strings.Cut(dir, "/")
	return first == "dev" || first == "proc" || first == "tmp" && !s.keepTmp
}

func beneathAny(dir string, covers []string) bool {
	for _, c := range covers {
		if dir == c || strings.HasPrefix(dir, c+"/") {
			return true
		}
	}
	return false
}

// environment sets the command's variables: not as bwrap's own, which runs
// outside and would heed LD_PRELOAD.
func environment(env []string) []string {
	args := []string{"--clearenv"}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		args = append(args, "--setenv", name, value)
	}
	return args
}

// pack joins options for bwrap's --args: each ends with a zero byte.
func pack(options ...[]string) []byte {
	var b []byte
	for _, list := range options {
		for _, arg := range list {
			b = append(append(b, arg...), 0)
		}
	}
	return b
}
