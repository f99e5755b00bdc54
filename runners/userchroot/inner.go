package userchroot

import (
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bgrid-node/bgrid-node/runners/launch"
	"github.com/bgrid-node/bgrid-node/runners/shim"
)

// argv0 marks a process as the first of a sandbox.
const argv0 = "bgrid-chroot"

// What the first process notes for the runner: one of these, and a text.
const (
	noteExit   = "exit"   // the wait status of the command
	noteDenied = "denied" // an exit code, and why the command cannot be started
	noteUnfit  = "unfit"  // what is wrong with the action
	noteFailed = "failed" // what is wrong with this machine
)

// MaybeRun turns this process into the first one of a sandbox if it was started as
// such, and then never returns. Otherwise it returns at once. Every binary that
// has this runner calls it first thing in main (tests: in TestMain).
func MaybeRun() {
	if len(os.Args) != 1 || os.Args[0] != argv0 {
		return
	}
	runtime.LockOSThread()
	for _, fd := range []int{shim.StatusFD, shim.SpecFD} {
		unix.CloseOnExec(fd)
	}
	var note string
	if p, err := readPlan(); err != nil {
		note = noteFailed + " read plan: " + err.Error()
	} else {
		note = p.run()
	}
	_, _ = unix.Write(shim.StatusFD, []byte(note))
	os.Exit(0)
}

func readPlan() (plan, error) {
	var p plan
	f := os.NewFile(shim.SpecFD, "plan")
	defer f.Close()
	return p, gob.NewDecoder(f).Decode(&p)
}

// unfitError is about the action.
type unfitError string

func (e unfitError) Error() string { return string(e) }

// run makes the sandbox, starts the command and waits for it; it returns the note.
func (p plan) run() string {
	// As the first process it would ignore what it has no handler for; it must not
	// end by a signal of the action's, nor pass a disposition on.
	signal.Notify(make(chan os.Signal, 1))
	err := p.enter()
	if unfit := unfitError(""); errors.As(err, &unfit) {
		return noteUnfit + " " + unfit.Error()
	}
	if err != nil {
		return noteFailed + " " + err.Error()
	}
	cwd := launch.Host("/" + p.WorkingDir)
	path, denied := launch.LookPath(cwd, p.Args[0], p.Env)
	if denied != nil {
		return deny(denied)
	}
	pid, err := p.start(path)
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		if denied := launch.Refused(path, errno); denied != nil {
			return deny(denied)
		}
	}
	if err != nil {
		return noteFailed + " start " + path + ": " + err.Error()
	}
	status, err := reapUntil(pid)
	if err != nil {
		return noteFailed + " wait for the command: " + err.Error()
	}
	return noteExit + " " + strconv.FormatUint(uint64(status), 10)
}

func deny(d *launch.Denial) string { return fmt.Sprintf("%s %d %s", noteDenied, d.Code, d.Text) }

// start starts the command, again where the kernel's answer says that another
// way or moment will do, see launch.
func (p plan) start(path string) (pid int, err error) {
	attributes := &syscall.ProcAttr{
		Env: p.Env, Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	}
	args := p.Args
	const tries = 10
	for range tries {
		pid, err = syscall.ForkExec(path, args, attributes)
		switch {
		case err == syscall.ETXTBSY:
			time.Sleep(10 * time.Millisecond)
		case err == syscall.ENOEXEC && launch.IsText(path):
			args = append([]string{"/bin/sh", path}, args[1:]...)
			path = "/bin/sh"
		default:
			return pid, err
		}
	}
	return pid, err
}

// reapUntil reaps whatever ends, until it is the command.
func reapUntil(pid int) (syscall.WaitStatus, error) {
	for {
		var status syscall.WaitStatus
		got, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, err
		case got == pid:
			return status, nil
		}
	}
}
