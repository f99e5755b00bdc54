package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// Exit codes: 0 done, 1 something went wrong while doing it, 2 the command line,
// the environment or the configuration is wrong. `run` passes on the code of the
// remote command.
const (
	exitFailed = 1
	exitUsage  = 2
)

// exitError ends the process with a code. A nil err prints nothing.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usageError marks err as the fault of the command line.
func usageError(err error) error { return &exitError{code: exitUsage, err: err} }

// report prints err as one line on stderr and returns the exit code.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return 0
	}
	code := exitFailed
	var e *exitError
	if errors.As(err, &e) {
		code = e.code
		if e.err == nil {
			return code
		}
	}
	_, _ = fmt.Fprintln(stderr, "bgrid-node: "+oneLine(err.Error()))
	return code
}

// oneLine folds the line breaks of messages that libraries lay out over several
// lines.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
