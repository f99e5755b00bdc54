package userchroot

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bgrid-node/bgrid-node/runners/shim"
)

// enter makes p.Root the root directory of this process, with all that belongs to
// a sandbox, and gives up the rights that it took.
func (p plan) enter() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("part from the host's mounts: %w", err)
	}
	// The way to the root before it is covered: what is writable comes from there.
	under, err := unix.Open(p.Root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open root: %w", err)
	}
	defer unix.Close(under)
	if err := unix.Mount(p.Root, p.Root, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind root: %w", err)
	}
	root, err := unix.Open(p.Root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open root: %w", err)
	}
	defer unix.Close(root)
	for _, step := range []func() error{
		func() error { return p.placeSocket(under, false) },
		func() error { return p.protect(under, root) },
		func() error { return p.mountProc(root) },
		func() error { return mountDev(root) },
		func() error { return p.mountTmp(root) },
		func() error { return p.placeSocket(root, true) },
		func() error { return p.mountSocket(root) },
		func() error { return p.network() },
		func() error { return unix.Sethostname([]byte("bgrid")) },
		func() error { return pivot(root) },
		func() error { return p.chdir() },
		dropRights,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// protect makes read-only what is.
func (p plan) protect(under, root int) error {
	if p.ReadOnly {
		if err := remountReadOnly(root); err != nil {
			return fmt.Errorf("protect root: %w", err)
		}
	}
	for _, t := range p.Subtrees {
		if err := bind(under, t.Path, root, t.Path, t.ReadOnly); err != nil {
			return fmt.Errorf("bind /%s: %w", t.Path, err)
		}
	}
	return nil
}

// openIn opens a path below a directory as a process would whose root that is.
func openIn(root int, path string) (int, error) {
	if path == "" {
		path = "."
	}
	return unix.Openat2(root, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
}

func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// bind mounts from below one directory to below another.
func bind(fromRoot int, from string, toRoot int, to string, readOnly bool) error {
	src, err := openIn(fromRoot, from)
	if err != nil {
		return err
	}
	defer unix.Close(src)
	dst, err := openIn(toRoot, to)
	if err != nil {
		return err
	}
	defer unix.Close(dst)
	if err := unix.Mount(fdPath(src), fdPath(dst), "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if !readOnly {
		return nil
	}
	mounted, err := openIn(toRoot, to)
	if err != nil {
		return err
	}
	defer unix.Close(mounted)
	return remountReadOnly(mounted)
}

// remountReadOnly keeps the flags of the mount, which a user namespace may not
// drop.
func remountReadOnly(fd int) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return err
	}
	flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV)
	for have, want := range map[int64]uintptr{
		unix.ST_NOEXEC: unix.MS_NOEXEC, unix.ST_NOATIME: unix.MS_NOATIME,
		unix.ST_NODIRATIME: unix.MS_NODIRATIME, unix.ST_RELATIME: unix.MS_RELATIME,
	} {
		if st.Flags&have != 0 {
			flags |= want
		}
	}
	return unix.Mount("", fdPath(fd), "", flags, "")
}

// mountProc mounts a fresh /proc, in which the parts that act on the whole machine
// cannot be written, or binds the host's where the kernel refuses a fresh one.
func (p plan) mountProc(root int) error {
	at, err := openIn(root, "proc")
	if err != nil {
		return fmt.Errorf("open /proc: %w", err)
	}
	defer unix.Close(at)
	if p.BoundProc {
		if err := unix.Mount("/proc", fdPath(at), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("bind /proc: %w", err)
		}
	} else if err := unix.Mount("proc", fdPath(at), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	proc, err := openIn(root, "proc")
	if err != nil {
		return fmt.Errorf("open /proc: %w", err)
	}
	defer unix.Close(proc)
	if p.BoundProc {
		return remountReadOnly(proc)
	}
	for _, part := range []string{"sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi"} {
		if err := bind(proc, part, proc, part, true); err != nil && err != unix.ENOENT {
			return fmt.Errorf("protect /proc/%s: %w", part, err)
		}
	}
	return nil
}

// mountDev makes a /dev with the devices that harm nobody.
func mountDev(root int) error {
	at, err := openIn(root, "dev")
	if err != nil {
		return fmt.Errorf("open /dev: %w", err)
	}
	defer unix.Close(at)
	if err := unix.Mount("tmpfs", fdPath(at), "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0755,size=64k"); err != nil {
		return fmt.Errorf("mount /dev: %w", err)
	}
	dev, err := openIn(root, "dev")
	if err != nil {
		return fmt.Errorf("open /dev: %w", err)
	}
	defer unix.Close(dev)
	host, err := unix.Open("/dev", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the host's /dev: %w", err)
	}
	defer unix.Close(host)
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		fd, err := unix.Openat(dev, name, unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o666)
		if err == nil {
			unix.Close(fd)
			err = bind(host, name, dev, name, false)
		}
		if err != nil {
			return fmt.Errorf("make /dev/%s: %w", name, err)
		}
	}
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := unix.Symlinkat(target, dev, name); err != nil {
			return fmt.Errorf("make /dev/%s: %w", name, err)
		}
	}
	return mountShm(root, dev)
}

func mountShm(root, dev int) error {
	if err := unix.Mkdirat(dev, "shm", 0o777); err != nil {
		return fmt.Errorf("make /dev/shm: %w", err)
	}
	return mountTmpfs(root, "dev/shm")
}

func mountTmpfs(root int, path string) error {
	at, err := openIn(root, path)
	if err != nil {
		return fmt.Errorf("open /%s: %w", path, err)
	}
	defer unix.Close(at)
	if err := unix.Mount("tmpfs", fdPath(at), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil {
		return fmt.Errorf("mount /%s: %w", path, err)
	}
	return nil
}

func (p plan) mountTmp(root int) error {
	if !p.OwnTmp {
		return nil
	}
	return mountTmpfs(root, "tmp")
}

// network brings up the loopback interface of a network that is just this
// sandbox's.
func (p plan) network() error {
	if !p.OwnNet {
		return nil
	}
	if err := shim.LoopbackUp(); err != nil {
		return fmt.Errorf("bring up the loopback interface: %w", err)
	}
	return nil
}

// pivot makes root the root directory; the host's files are gone.
func pivot(root int) error {
	if err := unix.Fchdir(root); err != nil {
		return fmt.Errorf("enter root: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the host's files: %w", err)
	}
	return os.Chdir("/")
}

func (p plan) chdir() error {
	if err := os.Chdir("/" + p.WorkingDir); err != nil {
		return unfitError(fmt.Sprintf("the working directory %q is not there, or is no directory", p.WorkingDir))
	}
	return nil
}

// dropRights gives up every capability, for all threads and for what is started,
// and hides this process's memory from the command.
func dropRights() error {
	for c := uintptr(0); ; c++ { // until the last that the kernel knows
		if everyThread(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0) != nil {
			break
		}
	}
	_ = everyThread(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0) // before Linux 4.3 there are none
	if err := everyThread(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		return fmt.Errorf("renounce new privileges: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := everyThread(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none)), 0); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	// So nobody reaches the threads that a build with cgo, for the race detector, has
	// to leave as they are.
	return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

// everyThread makes a system call in each thread; with cgo in this one, which
// starts the command.
func everyThread(trap, a1, a2, a3 uintptr) error {
	_, _, e := syscall.AllThreadsSyscall6(trap, a1, a2, a3, 0, 0, 0)
	if e == syscall.ENOTSUP {
		_, _, e = syscall.RawSyscall6(trap, a1, a2, a3, 0, 0, 0)
	}
	if e != 0 {
		return e
	}
	return nil
}
