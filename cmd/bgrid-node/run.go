package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node/client"
)

// defaultPath is the PATH that a command sees unless --env gives another. It is
// fixed, not this machine's, so that equal commands are equal actions everywhere.
const defaultPath = "/usr/local/bin:/usr/bin:/bin"

// runFlags is the command line of `run`.
type runFlags struct {
	remote
	properties, inputs, outputs, env []string
	workingDir                       string
	timeout                          time.Duration
	noCache, skipLookup, verbose     bool
	follow                           bool
	priority                         int32
}

func newRunCmd() *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARGUMENT...]",
		Short: "Run a command remotely and bring its outputs back",
		Long: "Run a command remotely and bring its outputs back, into the current directory. Its stdout and stderr are shown, and\n" +
			"its exit code is this command's. It sees only the inputs, which keep their paths relative to the current directory,\n" +
			"and the environment given with --env (PATH is " + defaultPath + " unless set). The same command on\n" +
			"the same inputs is answered from the cache. Interrupting it cancels the execution and exits with 130.",
		Example: "  bgrid-node run -i hello.c -o hello -- cc -o hello hello.c\n" +
			"  bgrid-node run -i src -o out/report --timeout 5m -v -- sh -c 'mkdir -p out && wc -l src/* > out/report'",
		Args: minArgs(1, "a command after --"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the command is the command's
	flags.StringArrayVarP(&f.properties, "platform", "p", nil, "platform property `KEY=VALUE` that the worker must have; may be repeated")
	flags.StringArrayVarP(&f.inputs, "input", "i", nil, "`PATH` of a file or directory that the command needs; may be repeated")
	flags.StringArrayVarP(&f.outputs, "output", "o", nil, "`PATH` of a file or directory that it makes, relative to its working directory; may be repeated")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "environment variable `KEY=VALUE`, or KEY to pass on the one set here; may be repeated")
	flags.StringVarP(&f.workingDir, "working-dir", "w", "", "`DIR` among the inputs to run in")
	flags.DurationVar(&f.timeout, "timeout", 0, "`DURATION` after which the command is killed; 0 for the server's default")
	flags.BoolVar(&f.noCache, "no-cache", false, "neither take the result from the cache nor put it there")
	flags.BoolVar(&f.skipLookup, "skip-cache-lookup", false, "run it even when the cache has a result, and keep the new one")
	flags.Int32Var(&f.priority, "priority", 0, "lower `N` runs first")
	flags.BoolVarP(&f.follow, "follow", "f", false, "show what it prints as it comes, not at its end")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "tell on stderr what happens, where it ran, and whether it was cached")
	return cmd
}

func (f *runFlags) run(cmd *cobra.Command, args []string) error {
	job, err := f.job(args)
	if err != nil {
		return usageError(err)
	}
	ctx, stop := untilInterrupted(cmd.Context())
	defer stop()
	err = f.call(ctx, func(ctx context.Context, c *client.Client) error {
		inputs, err := client.ReadInputs(ctx, c.Function(), ".", f.inputs, job.WorkingDir)
		if err != nil {
			return err
		}
		p, err := job.Prepare(c.Function(), inputs)
		if err != nil {
			return usageError(err)
		}
		return f.execute(ctx, cmd, c, p)
	})
	var interrupted *interrupt
	if errors.As(context.Cause(ctx), &interrupted) {
		if errors.Is(err, client.ErrNotCancelled) {
			return &exitError{code: 128 + int(interrupted.signal), err: err}
		}
		return &exitError{code: 128 + int(interrupted.signal), err: interrupted}
	}
	return err
}

// execute runs the action and shows what came of it.
func (f *runFlags) execute(ctx context.Context, cmd *cobra.Command, c *client.Client, p *client.Prepared) error {
	stderr := cmd.ErrOrStderr()
	up := &client.Progress{}
	stop := showProgress(stderr, "upload", up)
	watch := stageWatcher(stderr, f.verbose)
	out := c.Output(ctx, cmd.OutOrStdout(), stderr, func() { outputLost(cmd) })
	defer out.Close()
	uploaded := false
	op, err := c.Run(ctx, p, func(op *client.Operation) {
		if !uploaded {
			uploaded = true
			stop()
		}
		watch(op)
		if f.follow {
			out.Watch(op)
		}
	}, up)
	if !uploaded {
		stop()
	}
	if err != nil {
		return err
	}
	// What the command printed is shown even when it was killed.
	if err := out.Finish(ctx, op); err != nil {
		return err
	}
	result := op.Response.GetResult()
	if err := op.Outcome(); err != nil {
		return fmt.Errorf("run %s: %w", p.Job.Arguments[0], err)
	}
	down := &client.Progress{}
	stop = showProgress(stderr, "download", down)
	_, err = c.DownloadOutputs(ctx, result, ".", p.Job.WorkingDir, p.Job.Outputs, down)
	stop()
	if err != nil {
		return err
	}
	if code := result.GetExitCode(); code != 0 {
		return &exitError{code: exitCode(code)}
	}
	if missing := p.NotMade(result); len(missing) > 0 {
		return fmt.Errorf("run %s: it exited with 0 but did not make %s", p.Job.Arguments[0], strings.Join(missing, ", "))
	}
	return nil
}

// exitCode keeps what a process can exit with; never success for a failure.
func exitCode(remote int32) int {
	if code := int(remote) & 0xff; code != 0 {
		return code
	}
	return exitFailed
}

// job reads the flags.
func (f *runFlags) job(args []string) (client.Job, error) {
	job := client.Job{
		Arguments: args, Env: map[string]string{"PATH": defaultPath}, Platform: map[string][]string{},
		WorkingDir: f.workingDir, Outputs: f.outputs, Timeout: f.timeout,
		NoCache: f.noCache, SkipLookup: f.skipLookup, Priority: f.priority,
	}
	if f.timeout < 0 {
		return job, fmt.Errorf("--timeout %s: is negative", f.timeout)
	}
	for _, p := range f.properties {
		key, value, ok := strings.Cut(p, "=")
		if !ok || key == "" {
			return job, fmt.Errorf("--platform %q: want KEY=VALUE", p)
		}
		job.Platform[key] = append(job.Platform[key], value)
	}
	for _, e := range f.env {
		key, value, ok := strings.Cut(e, "=")
		if key == "" {
			return job, fmt.Errorf("--env %q: want KEY=VALUE or KEY", e)
		}
		if !ok {
			if value, ok = os.LookupEnv(key); !ok {
				return job, fmt.Errorf("--env %s: not set here", key)
			}
		}
		job.Env[key] = value
	}
	return job, nil
}
