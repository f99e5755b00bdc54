package netns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// insideVariable tells a copy of the program that it has a network of its own.
const insideVariable = "BGRID_TEST_INSIDE_NETNS"

// namespaces are those of the copy: names of namespaces are mounts.
const namespaces = syscall.CLONE_NEWNET | syscall.CLONE_NEWNS

// Inside tells whether this process was started by Reenter.
func Inside() bool { return os.Getenv(insideVariable) != "" }

// Available says why there can be no network of one's own here, if so.
func Available() error {
	if os.Geteuid() != 0 {
		return errors.New("only root may make network namespaces")
	}
	for _, program := range []string{"ip", "nft", "nsenter"} {
		if _, err := tool(program); err != nil {
			return fmt.Errorf("run `make setup`: %w", err)
		}
	}
	probe := exec.Command("true")
	probe.SysProcAttr = &syscall.SysProcAttr{Unshareflags: namespaces}
	if err := probe.Run(); err != nil {
		return fmt.Errorf("make namespaces: %w", err)
	}
	return nil
}

// Reenter runs this program again, with the arguments and in network and mount
// namespaces of its own, until it ends, and returns its exit code. The copy is
// killed when this process dies; the end of ctx is SIGTERM for it.
func Reenter(ctx context.Context, args ...string) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 1, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: namespaces,
		Pdeathsig:    syscall.SIGKILL,
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	runtime.LockOSThread() // its end is what sends the signal
	defer runtime.UnlockOSThread()
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 1, fmt.Errorf("run this program in a network of its own: %w", err)
	}
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code, nil
	}
	return 1, fmt.Errorf("run this program in a network of its own: %w", err)
}

// tool finds a program, also where the PATH of ordinary users does not look.
func tool(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if err != nil {
			path, err = exec.LookPath(dir + name)
		}
	}
	return path, err
}
