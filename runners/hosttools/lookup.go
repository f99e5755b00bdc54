package hosttools

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/shim"
)

// defaultPath is searched when the command has no PATH. It is not put into the
// command's environment.
const defaultPath = "/usr/local/bin:/usr/bin:/bin"

// The exit codes of a shell that cannot start a command.
const (
	notExecutable = 126
	notFound      = 127
)

// denial is why a command cannot be started: a result of the action, as a shell
// would give it.
type denial struct {
	text string
	code int
}

// exit writes the reason to the command's stderr.
func (d *denial) exit(t runners.Task) (runners.Exit, error) {
	now := time.Now()
	if err := os.WriteFile(t.Stdout, nil, 0o644); err != nil {
		return runners.Exit{}, fmt.Errorf("write stdout: %w", err)
	}
	if err := os.WriteFile(t.Stderr, []byte("bgrid-node: "+d.text+"\n"), 0o644); err != nil {
		return runners.Exit{}, fmt.Errorf("write stderr: %w", err)
	}
	return runners.Exit{Code: d.code, Started: now, Completed: time.Now()}, nil
}

// lookPath finds the program (REAPI, Command.arguments): a name without a slash
// in the command's PATH, a relative path from the working directory, an absolute
// one on the host. The result is absolute or relative to the working directory.
func lookPath(t runners.Task) (string, *denial) {
	name := t.Args[0]
	cwd := filepath.Join(t.Dir, t.WorkingDir)
	if strings.Contains(name, "/") {
		return name, executable(cwd, name)
	}
	var found *denial
	for _, dir := range filepath.SplitList(pathOf(t.Env)) {
		if dir == "" {
			dir = "."
		}
		candidate := dir + "/" + name
		denied := executable(cwd, candidate)
		if denied == nil {
			return candidate, nil
		}
		if denied.code == notExecutable && found == nil {
			found = denied // and go on, as execvp(3) does
		}
	}
	if found == nil {
		found = &denial{code: notFound, text: name + ": command not found"}
	}
	return "", found
}

func pathOf(env []string) string {
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, "PATH="); ok {
			return value
		}
	}
	return defaultPath
}

// executable tells why path, relative to cwd, is no program.
func executable(cwd, path string) *denial {
	full := path
	if path == "" || path[0] != '/' {
		full = cwd + "/" + path
	}
	var st unix.Stat_t
	err := unix.Stat(full, &st)
	switch {
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR):
		return &denial{code: notFound, text: path + ": no such file"}
	case err != nil:
		return &denial{code: notExecutable, text: fmt.Sprintf("%s: %v", path, err)}
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return &denial{code: notExecutable, text: path + ": is a directory"}
	}
	if err := unix.Access(full, unix.X_OK); err != nil {
		return &denial{code: notExecutable, text: fmt.Sprintf("%s: %v", path, err)}
	}
	return nil
}

// notStarted turns the kernel's refusal into an exit code where it is about the
// command, and into an error where it is about this machine.
func notStarted(t runners.Task, path string, r shim.Reply) (runners.Exit, error) {
	if r.Stage != shim.StageExec {
		return runners.Exit{}, fmt.Errorf("open output of command: %w", r.Errno)
	}
	switch r.Errno {
	case syscall.ENOENT, syscall.ENOTDIR: // it was there: what its first line names is not
		d := denial{code: notFound, text: path + ": its interpreter is not there"}
		return d.exit(t)
	case syscall.EACCES, syscall.EPERM, syscall.ENOEXEC, syscall.E2BIG, syscall.ELOOP, syscall.EINVAL,
		syscall.ENAMETOOLONG, syscall.EISDIR, syscall.ELIBBAD, syscall.ETXTBSY:
		d := denial{code: notExecutable, text: fmt.Sprintf("%s: %v", path, r.Errno)}
		return d.exit(t)
	}
	return runners.Exit{}, fmt.Errorf("start %s: %w", path, r.Errno)
}

// isText tells whether a file that the kernel does not know how to execute looks
// like a script: no zero byte near its beginning.
func isText(req shim.Request) bool {
	path := req.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(req.Dir, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 256)
	n, err := io.ReadFull(f, head)
	return (err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) && bytes.IndexByte(head[:n], 0) < 0
}
