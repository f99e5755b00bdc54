// Command ciskips runs `go test -json` with the arguments given, prints the
// result of every test, and fails when a test fails or when one is skipped that
// the file test/SKIPS does not list.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
)

const skipsFile = "test/SKIPS"

func main() {
	code, err := run(os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "ciskips: "+err.Error())
		code = 1
	}
	os.Exit(code)
}

// run returns the exit code of go test, or 1 when only a skip is not allowed.
func run(args []string, out io.Writer) (int, error) {
	listed, err := os.ReadFile(skipsFile)
	if err != nil {
		return 0, fmt.Errorf("read the allowed skips: %w", err)
	}
	allowed, err := parseSkips(bytes.NewReader(listed))
	if err != nil {
		return 0, err
	}
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return 0, fmt.Errorf("run go test: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("run go test: %w", err)
	}
	p := newPrinter(out)
	readErr := p.read(events)
	waitErr := cmd.Wait()
	if readErr != nil {
		return 0, readErr
	}
	ok := p.summary(allowed)
	switch {
	case waitErr != nil && cmd.ProcessState == nil:
		return 0, fmt.Errorf("run go test: %w", waitErr)
	case cmd.ProcessState.ExitCode() != 0:
		return cmd.ProcessState.ExitCode(), nil
	case !ok:
		return 1, nil
	}
	return 0, nil
}
