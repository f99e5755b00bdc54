package shim

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// oomScoreAdj makes the kernel pick actions before the node, and before their
// shim, when memory is short.
const oomScoreAdj = 500

// prepare makes this process what every action inherits from: a clean slate,
// whatever the node itself inherited from its shell, service manager or
// container. The limits are the mark, empty where there is none.
func (s *server) prepare(softLimit, hardLimit, isolation string) error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become a child subreaper: %w", err)
	}
	// What is left open across exec is given to each command explicitly.
	if err := unix.CloseRange(connFD, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		if err := setAllCloexec(); err != nil {
			return err
		}
	}
	_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&append([]byte(argv0), 0)[0])), 0, 0, 0)
	if os.Geteuid() != 0 {
		// What a set-user-ID program became could not be killed.
		_ = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	}
	if err := os.Chdir("/"); err != nil {
		return fmt.Errorf("leave the node's directory: %w", err)
	}
	unix.Umask(0o022)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	soft, softErr := strconv.ParseUint(softLimit, 10, 64)
	hard, hardErr := strconv.ParseUint(hardLimit, 10, 64)
	if softErr == nil && hardErr == nil {
		setLimits(unix.Rlimit{Cur: soft, Max: hard})
	}
	if err := isolate(isolation); err != nil {
		return err
	}
	return resetSignals()
}

// raiseOOMScore makes what is started from now on likelier to be killed than this
// process, and returns what takes that back for this process alone.
func raiseOOMScore() (lower func()) {
	const file = "/proc/self/oom_score_adj"
	b, err := os.ReadFile(file)
	if err != nil {
		return func() {}
	}
	now, err := strconv.Atoi(string(bytes.TrimSpace(b)))
	if err != nil || now >= oomScoreAdj || os.WriteFile(file, []byte(strconv.Itoa(oomScoreAdj)), 0) != nil {
		return func() {}
	}
	return func() { _ = os.WriteFile(file, b, 0) }
}

// resetSignals gives commands default dispositions and an empty mask. Signals
// that the Go runtime handles become default by exec; those that were ignored
// when the node was started (nohup and the like) would stay ignored. SIGCHLD is
// set to its default here, too, so that it does not interrupt each wait.
func resetSignals() error {
	const words = 8 // more than a struct sigaction of the kernel on any architecture
	var fresh [words]uintptr
	for sig := syscall.Signal(1); sig <= 64; sig++ {
		var old [words]uintptr
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), 0, uintptr(unsafe.Pointer(&old)), 8, 0, 0)
		const ignored = 1 // SIG_IGN
		if errno != 0 || (old[0] != ignored && sig != syscall.SIGCHLD) {
			continue
		}
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&fresh)), 0, 8, 0, 0)
	}
	// ForkExec gives the child the mask of the calling thread, which is locked.
	var none unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil); err != nil {
		return fmt.Errorf("clear signal mask: %w", err)
	}
	return nil
}

// setAllCloexec does what close_range(2) does, before Linux 5.11.
func setAllCloexec() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("list open files: %w", err)
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= connFD {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}
