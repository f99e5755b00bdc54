package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node/client"
)

func newLogsCmd() *cobra.Command {
	r := &remote{}
	var follow, verbose bool
	cmd := &cobra.Command{
		Use:   "logs OPERATION",
		Short: "Show what an execution printed, also while it runs",
		Long: "Show what an execution printed to its stdout and stderr so far, on this command's. With --follow, go on until it is\n" +
			"done. The exit code says nothing of the execution's: `bgrid-node operation wait` does.",
		Example: "  bgrid-node operation list\n  bgrid-node logs -f buildgrid/2b0e3d0c-0d5c-4d1e-9a63-5f1f1d0c7a11",
		Args:    exactArgs(1, "OPERATION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.call(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				if follow {
					return followLogs(ctx, cmd, c, args[0], verbose)
				}
				op, err := c.Operation(ctx, args[0])
				if err != nil {
					return err
				}
				return c.OutputSoFar(ctx, op, cmd.OutOrStdout(), cmd.ErrOrStderr())
			})
		},
	}
	r.register(cmd)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the execution is done")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "with --follow: tell on stderr each change of the execution")
	return cmd
}

// followLogs shows the output as it comes. An execution that was ended without
// having run is an error.
func followLogs(ctx context.Context, cmd *cobra.Command, c *client.Client, name string, verbose bool) error {
	out := c.Output(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr(), func() { outputLost(cmd) })
	defer out.Close()
	tell := stageWatcher(cmd.ErrOrStderr(), verbose)
	op, err := c.Wait(ctx, name, func(op *client.Operation) {
		tell(op)
		out.Watch(op)
	})
	if err != nil {
		return err
	}
	if err := out.Finish(ctx, op); err != nil {
		return err
	}
	if err := op.Outcome(); err != nil {
		return fmt.Errorf("operation %s: %w", name, err)
	}
	return nil
}

// outputLost tells of output that is about to be shown a second time.
func outputLost(cmd *cobra.Command) {
	_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "bgrid-node: the worker was lost; the command runs again, and this is its output from the start")
}
