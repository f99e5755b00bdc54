package shim

import (
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// command is a running command's first process: the leader of a session and of a
// process group of its own, without a terminal.
type command struct {
	pid      int
	pidfd    int
	started  int64     // CLOCK_REALTIME, nanoseconds
	deadline time.Time // zero: none
	status   int       // pipe to read; -1: none

	stdout, stderr string
	output         int64 // the most bytes of each; 0: any
}

// start opens the files and forks. The error is a syscall.Errno.
func start(r Request) (*command, Stage, error) {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, StageExec, err
	}
	defer unix.Close(null)
	stdout, err := openOutput(r.Stdout, null)
	if err != nil {
		return nil, StageStdout, err
	}
	defer closeOutput(stdout, null)
	stderr, err := openOutput(r.Stderr, null)
	if err != nil {
		return nil, StageStderr, err
	}
	defer closeOutput(stderr, null)

	c := &command{pidfd: -1, status: -1, stdout: r.Stdout, stderr: r.Stderr, output: r.Limits.Output}
	files := []uintptr{uintptr(null), uintptr(stdout), uintptr(stderr)}
	more, err := c.openMore(r)
	if err != nil {
		return nil, StageExec, err
	}
	for _, fd := range more {
		defer unix.Close(fd)
		files = append(files, uintptr(fd))
	}
	now := time.Now()
	c.started = now.UnixNano()
	if r.Timeout > 0 {
		c.deadline = now.Add(r.Timeout)
	}
	restore := r.Limits.set()
	lower := raiseOOMScore()
	c.pid, err = syscall.ForkExec(r.Path, r.Args, &syscall.ProcAttr{
		Dir: r.Dir, Env: r.Env, Files: files, Sys: c.attributes(r),
	})
	lower()
	restore()
	if err != nil {
		c.readStatus()
		return c, StageExec, err
	}
	r.Limits.seal(c.pid)
	return c, StageExec, nil
}

// attributes makes the command the leader of a session, in the namespaces that
// the request asks for.
func (c *command) attributes(r Request) *syscall.SysProcAttr {
	sys := &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL, PidFD: &c.pidfd, Cloneflags: r.Namespaces}
	if r.Namespaces&unix.CLONE_NEWUSER != 0 {
		sys.UidMappings = []syscall.SysProcIDMap{{ContainerID: r.InnerUser, HostID: os.Geteuid(), Size: 1}}
		sys.GidMappings = []syscall.SysProcIDMap{{ContainerID: r.InnerGroup, HostID: os.Getegid(), Size: 1}}
		if r.InnerUser != 0 {
			// Who is not root loses all rights by the exec, those over the namespaces, too,
			// which the first process of a sandbox needs until it gives them up.
			sys.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP, unix.CAP_NET_ADMIN}
		}
	}
	return sys
}

// openMore opens what the command has at StatusFD and SpecFD.
func (c *command) openMore(r Request) (fds []int, err error) {
	if r.Status {
		var pipe [2]int
		if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
			return nil, err
		}
		c.status = pipe[0]
		fds = append(fds, pipe[1])
	}
	if len(r.Spec) > 0 {
		fd, err := unix.MemfdCreate("spec", unix.MFD_CLOEXEC)
		if err == nil {
			fds = append(fds, fd)
			if err = writeAll(fd, r.Spec); err == nil {
				_, err = unix.Seek(fd, 0, 0)
			}
		}
		if err != nil {
			for _, fd := range fds {
				unix.Close(fd)
			}
			c.readStatus()
			return nil, err
		}
	}
	return fds, nil
}

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// readStatus returns what came through the status pipe, when nobody is left who
// could write, and closes it.
func (c *command) readStatus() string {
	if c.status < 0 {
		return ""
	}
	defer func() { unix.Close(c.status); c.status = -1 }()
	if unix.SetNonblock(c.status, true) != nil {
		return ""
	}
	note := make([]byte, maxNote)
	n := 0
	for n < len(note) {
		k, err := unix.Read(c.status, note[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || k == 0 {
			break
		}
		n += k
	}
	return string(note[:n])
}

func clip(s string) string { return s[:min(len(s), maxNote)] }

// talksTooMuch tells whether stdout or stderr has become too large.
func (c *command) talksTooMuch() bool {
	if c.output <= 0 {
		return false
	}
	for _, path := range [...]string{c.stdout, c.stderr} {
		var st unix.Stat_t
		if path != "" && unix.Lstat(path, &st) == nil && st.Size > c.output {
			return true
		}
	}
	return false
}

// openOutput never follows a link and never waits: an action that got hold of the
// place where the next one's output goes must not divert or stop it.
func openOutput(path string, null int) (int, error) {
	if path == "" {
		return null, nil
	}
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC | unix.O_APPEND | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	for {
		fd, err := unix.Open(path, flags, 0o644)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, err
		}
		var st unix.Stat_t
		if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
			err = unix.EINVAL
		}
		if err == nil { // the command shall not see O_NONBLOCK
			_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_APPEND)
		}
		if err != nil {
			unix.Close(fd)
			return -1, err
		}
		return fd, nil
	}
}

func closeOutput(fd, null int) {
	if fd != null {
		unix.Close(fd)
	}
}

// kill ends the command's process group. What left the group follows when the
// first process is reaped, see finish.
func (c *command) kill() {
	// The process is not reaped yet, so its id cannot belong to another.
	_ = unix.Kill(-c.pid, unix.SIGKILL)
	_ = unix.Kill(c.pid, unix.SIGKILL)
}

// reapEvery is how often orphans that have ended are reaped while the command
// runs, so that their number is bounded by how many end in that time.
const reapEvery = time.Second

// pollTimeout returns milliseconds for poll(2), rounded up.
func (c *command) pollTimeout() int {
	wait := reapEvery
	if !c.deadline.IsZero() {
		wait = min(wait, max(0, time.Until(c.deadline)))
	}
	return int((wait + time.Millisecond - 1) / time.Millisecond)
}

// overdue tells once that the deadline has passed.
func (c *command) overdue() bool {
	if c.deadline.IsZero() || time.Now().Before(c.deadline) {
		return false
	}
	c.deadline = time.Time{}
	return true
}

// reapOrphans reaps the ended children of this process other than the command's
// first process, whose id must stay taken: see finish.
func (c *command) reapOrphans(reply *Reply) {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err == unix.EINTR {
			continue
		}
		pid := childIn(&info)
		if err != nil || pid == 0 || pid == c.pid {
			return
		}
		var status syscall.WaitStatus
		var usage syscall.Rusage
		if got, err := syscall.Wait4(pid, &status, syscall.WNOHANG, &usage); err == nil && got == pid {
			reply.addUsage(&usage)
		}
	}
}

// childIn returns si_pid, which follows three ints, aligned to a pointer.
func childIn(info *unix.Siginfo) int {
	const offset = (3*4 + unsafe.Sizeof(uintptr(0)) - 1) &^ (unsafe.Sizeof(uintptr(0)) - 1)
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(info), offset)))
}

// finish reaps the command, then kills and reaps whatever else it started.
func (c *command) finish(reply *Reply) {
	// While the first process is a zombie its group's id cannot be taken by
	// another: the one moment at which the rest of the group dies at a stroke.
	_ = unix.Kill(-c.pid, unix.SIGKILL)
	var usage syscall.Rusage
	for {
		_, err := syscall.Wait4(c.pid, &reply.Status, 0, &usage)
		if err != syscall.EINTR {
			break
		}
	}
	reply.Completed = time.Now().UnixNano()
	unix.Close(c.pidfd)
	reply.addUsage(&usage)
	killDescendants(reply)
	reply.Note = c.readStatus()
	reply.OutputExceeded = reply.OutputExceeded || c.talksTooMuch()
}

// CloseRoot closes Root if there is one.
func (r *Reply) CloseRoot() {
	if r.Root != nil {
		_ = r.Root.Close()
		r.Root = nil
	}
}

func (r *Reply) addUsage(u *syscall.Rusage) {
	r.User += time.Duration(u.Utime.Nano())
	r.System += time.Duration(u.Stime.Nano())
	r.MaxRSS = max(r.MaxRSS, int64(u.Maxrss)<<10)
	r.MinorFaults += int64(u.Minflt)
	r.MajorFaults += int64(u.Majflt)
	r.BlocksIn += int64(u.Inblock)
	r.BlocksOut += int64(u.Oublock)
	r.VoluntarySwitches += int64(u.Nvcsw)
	r.InvoluntarySwitches += int64(u.Nivcsw)
}
