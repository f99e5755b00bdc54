package shim

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Isolation is what a shim, and with it all its commands, is cut off from. A
// shim's namespaces cost nothing per command; its commands follow each other, and
// none outlives its turn, so what is left of one cannot reach the next.
type Isolation struct {
	// User gives the shim a user namespace, in which it is root with no user but
	// its own. An ordinary user needs it for the others.
	User bool
	// Mounts gives it mounts of its own: for Request.Overlay.
	Mounts bool
	// Network gives it a network of its own with nothing but a loopback interface.
	Network bool
}

// For returns what this process needs to have mounts and network of its own.
func (i Isolation) For(euid int) Isolation {
	i.User = euid != 0 && (i.Mounts || i.Network)
	return i
}

// String names what is set.
func (i Isolation) String() string {
	var names []string
	for _, f := range i.flags() {
		if *f.set {
			names = append(names, f.name)
		}
	}
	return strings.Join(names, ",")
}

type isolationFlag struct {
	name  string
	set   *bool
	clone uintptr
}

func (i *Isolation) flags() []isolationFlag {
	return []isolationFlag{
		{"user", &i.User, unix.CLONE_NEWUSER}, {"mounts", &i.Mounts, unix.CLONE_NEWNS}, {"network", &i.Network, unix.CLONE_NEWNET},
	}
}

// attributes says how to start the shim: in a session of its own, too, so that
// the terminal's signals, and those sent to the node's process group, do not
// reach it before it has cleaned up.
func (i Isolation) attributes() *syscall.SysProcAttr {
	sys := &syscall.SysProcAttr{Setsid: true}
	for _, f := range i.flags() {
		if *f.set {
			sys.Cloneflags |= f.clone
		}
	}
	if i.User {
		sys.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		sys.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	return sys
}

// isolate finishes, in the shim, what its namespaces began.
func isolate(isolation string) error {
	var i Isolation
	for _, f := range i.flags() {
		*f.set = strings.Contains(isolation, f.name)
	}
	if i.Mounts {
		// What is mounted here stays here; what the host unmounts goes here, too.
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
			return fmt.Errorf("part from the host's mounts: %w", err)
		}
	}
	if i.Network {
		if err := LoopbackUp(); err != nil {
			return fmt.Errorf("bring up the loopback interface: %w", err)
		}
	}
	return nil
}

// LoopbackUp brings up the loopback interface of the network of this process.
func LoopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}
