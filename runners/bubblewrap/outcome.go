package bubblewrap

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/launch"
	"github.com/bgrid-node/bgrid-node/runners/shim"
)

// outcome tells a command that ran from one that bwrap could not start: only the
// first has an exit code in bwrap's status.
func outcome(t runners.Task, reply shim.Reply) (runners.Exit, error) {
	if reply.Errno != 0 {
		return launch.NotStarted(t, t.Args[0], reply)
	}
	if reply.TimedOut || reply.OutputExceeded || reply.OutOfMemory || strings.Contains(reply.Note, `"exit-code"`) {
		return launch.ExitOf(reply, t.Limits), nil
	}
	reply.CloseRoot()
	if reply.Status.Signaled() {
		return runners.Exit{}, fmt.Errorf("bwrap was ended by signal %d", reply.Status.Signal())
	}
	line, err := firstLine(t.Stderr)
	if err != nil {
		return runners.Exit{}, err
	}
	if reason, ok := strings.CutPrefix(line, "bwrap: execvp "); ok {
		if strings.HasSuffix(reason, ": Text file busy") {
			return runners.Exit{}, errBusy
		}
		return denialOf(t.Args[0], reason).Exit(t)
	}
	if strings.HasPrefix(line, "bwrap: Can't chdir to ") {
		return runners.Exit{}, runners.Unfit("the working directory %q is not there, or is no directory", t.WorkingDir)
	}
	return runners.Exit{}, fmt.Errorf("make sandbox: %s", line)
}

// denialOf reads execvp's error as bwrap words it: "NAME: TEXT".
func denialOf(program, text string) *launch.Denial {
	for _, errno := range []syscall.Errno{syscall.ENOENT, syscall.ENOTDIR} {
		if strings.HasSuffix(strings.ToLower(text), ": "+errno.Error()) {
			return launch.Refused(program, errno)
		}
	}
	return &launch.Denial{Code: 126, Text: text}
}

// firstLine reads what bwrap wrote before the command could write anything.
func firstLine(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read bwrap's error: %w", err)
	}
	defer f.Close()
	const most = 4 << 10
	line, err := bufio.NewReader(io.LimitReader(f, most)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read bwrap's error: %w", err)
	}
	if line == "" {
		return "bwrap ended without a word", nil
	}
	return strings.TrimSuffix(line, "\n"), nil
}
