package bubblewrap

import (
	"fmt"
	"os"
	"strings"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/launch"
)

// bwrap takes 9000 arguments, its own and the command's together. A longer command
// line goes by a script, which the sandbox's shell reads and becomes the command.

const (
	// maxArguments is what bwrap takes; each variable costs it three.
	maxArguments = 9000
	// ownArguments is more than the runner's options ever are, of which most are for
	// Task.Subtrees.
	ownArguments = 600
	// scriptPath is in the sandbox's own /dev, which no action brings along.
	scriptPath = "/dev/bgrid-command"
	shell      = "/bin/sh"
)

// isLong tells whether the command line must go by a script.
func isLong(t runners.Task) bool { return ownArguments+len(t.Args)+3*len(t.Env) > maxArguments }

// tooLong tells why even a script does not help; nil: it does.
func tooLong(v launch.View, t runners.Task) *launch.Denial {
	if n := ownArguments + 3*len(t.Env); n > maxArguments {
		return &launch.Denial{Code: 126, Text: fmt.Sprintf("%s: %d variables are more than bubblewrap takes", t.Args[0], len(t.Env))}
	}
	if _, denied := launch.LookPath(v, shell, nil); denied != nil {
		return &launch.Denial{Code: 126, Text: fmt.Sprintf("%s: %d arguments are more than bubblewrap takes without %s in the root file system", t.Args[0], len(t.Args), shell)}
	}
	return nil
}

// writeScript writes the command line beside the command's stdout, for the caller
// to remove.
func writeScript(t runners.Task, program string) (path string, err error) {
	path = t.Stdout + ".command"
	if err := os.WriteFile(path, []byte(script(program, t.Args[1:])), 0o644); err != nil {
		return "", fmt.Errorf("write command line: %w", err)
	}
	return path, nil
}

// script quotes the command line for a shell.
func script(program string, args []string) string {
	var b strings.Builder
	b.WriteString("exec")
	for _, arg := range append([]string{program}, args...) {
		b.WriteString(" '")
		b.WriteString(strings.ReplaceAll(arg, "'", `'\''`))
		b.WriteString("'")
	}
	b.WriteString("\n")
	return b.String()
}
