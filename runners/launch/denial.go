package launch

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/shim"
)

// The exit codes of a shell that cannot start a command.
const (
	notExecutable = 126
	notFound      = 127
)

// Denial is why a command cannot be started: a result of the action, as a shell
// would give it.
type Denial struct {
	Text string
	Code int // 126 or 127
}

// Exit writes the reason to the command's stderr, and nothing else is there.
func (d *Denial) Exit(t runners.Task) (runners.Exit, error) {
	now := time.Now()
	if err := os.WriteFile(t.Stdout, nil, 0o644); err != nil {
		return runners.Exit{}, fmt.Errorf("write stdout: %w", err)
	}
	if err := os.WriteFile(t.Stderr, []byte("bgrid-node: "+d.Text+"\n"), 0o644); err != nil {
		return runners.Exit{}, fmt.Errorf("write stderr: %w", err)
	}
	return runners.Exit{Code: d.Code, Started: now, Completed: time.Now()}, nil
}

// NotStarted turns the kernel's refusal into an exit code where it is about the
// command, and into an error where it is about this machine.
func NotStarted(t runners.Task, path string, r shim.Reply) (runners.Exit, error) {
	switch r.Stage {
	case shim.StageExec:
	case shim.StageMount:
		if r.Errno == syscall.ENOTDIR || r.Errno == syscall.ELOOP || r.Errno == syscall.ENAMETOOLONG {
			return runners.Exit{}, runners.Unfit("the working directory or that of an output cannot be made: %s", r.Note)
		}
		return runners.Exit{}, fmt.Errorf("mount the input root: %s: %w", r.Note, r.Errno)
	default:
		return runners.Exit{}, fmt.Errorf("open output of command: %w", r.Errno)
	}
	if d := Refused(path, r.Errno); d != nil {
		return d.Exit(t)
	}
	return runners.Exit{}, fmt.Errorf("start %s: %w", path, r.Errno)
}

// Refused says what execve(2)'s error means to the one who asked for a program
// that LookPath found; nil: it is about the machine, not the program.
func Refused(path string, errno syscall.Errno) *Denial {
	switch errno {
	case syscall.ENOENT, syscall.ENOTDIR: // it was there: what its first line names is not
		return &Denial{Code: notFound, Text: path + ": its interpreter is not there"}
	case syscall.EACCES, syscall.EPERM, syscall.ENOEXEC, syscall.E2BIG, syscall.ELOOP, syscall.EINVAL,
		syscall.ENAMETOOLONG, syscall.EISDIR, syscall.ELIBBAD, syscall.ETXTBSY:
		return &Denial{Code: notExecutable, Text: fmt.Sprintf("%s: %v", path, errno)}
	}
	return nil
}
