package bazel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// Debian's packages bazel-bootstrap, bazel-rules-java and bazel-rules-proto.
const (
	program    = "bazel-4"
	installed  = "/usr/share/bazel"
	javaRules  = installed + "/rules/java"
	protoRules = installed + "/rules/proto"
)

// commandPatience is far above what a command takes.
const commandPatience = 5 * time.Minute

// Result is how a command of Bazel ended.
type Result struct {
	ExitCode  int
	Output    string // both streams
	Processes Processes
}

// Installed says what is missing, if anything.
func Installed() error {
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("Debian's Bazel is not installed: run `make setup` (%w)", err)
	}
	for _, dir := range []string{javaRules, protoRules} {
		if _, err := os.Stat(dir); err != nil {
			return fmt.Errorf("Debian's rules for Bazel are not installed: run `make setup` (%w)", err)
		}
	}
	return nil
}

// Run runs a command of Bazel: build, test, clean or shutdown and its arguments.
// An exit code other than 0 is no error; that Bazel could not be run is, or that
// it did not end within 5 minutes.
func (w *Workspace) Run(ctx context.Context, command string, args ...string) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, commandPatience)
	defer cancel()
	all := []string{
		"--batch", "--nohome_rc", "--nosystem_rc", "--noworkspace_rc", "--install_base=" + installed, "--trust_install_base",
		"--output_user_root=" + filepath.Join(w.root, "output"), "--host_jvm_args=-Xmx512m",
		command, "--color=no", "--curses=no",
	}
	if command == "build" || command == "test" {
		all = append(all, w.buildFlags()...)
	}
	cmd := exec.CommandContext(ctx, program, append(all, args...)...)
	cmd.Dir = w.Dir()
	cmd.Env = []string{"HOME=" + filepath.Join(w.root, "home"), "PATH=/usr/bin:/bin", "USER=nobody", "LANG=C.UTF-8"}
	// It leads a process group, and dies with the thread that started it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	r := Result{ExitCode: cmd.ProcessState.ExitCode(), Output: output.String()}
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		return r, fmt.Errorf("run bazel %s: %w\n%s", command, err, r.Output)
	}
	r.Processes, err = parseProcesses(r.Output)
	return r, err
}

func (w *Workspace) buildFlags() []string {
	flags := []string{
		"--override_repository=rules_cc=" + filepath.Join(w.root, "rules_cc"),
		"--override_repository=remote_coverage_tools=" + filepath.Join(w.root, "remote_coverage_tools"),
		"--override_repository=rules_java=" + javaRules,
		"--override_repository=rules_proto=" + protoRules,
		"--host_javabase=@local_jdk//:jdk", "--noshow_progress", "--verbose_failures",
	}
	if w.Server != "" {
		flags = append(flags, "--remote_executor=grpc://"+w.Server, "--remote_instance_name="+w.Instance, "--spawn_strategy=remote", "--jobs=16")
	}
	return slices.Concat(flags, w.Flags)
}
