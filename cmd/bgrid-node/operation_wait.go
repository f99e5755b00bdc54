package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node/client"
)

func newOperationWaitCmd(r *remote) *cobra.Command {
	var asJSON, verbose bool
	cmd := &cobra.Command{
		Use:   "wait OPERATION",
		Short: "Wait until an execution is done, then show it",
		Long:  "Wait until an execution is done, then show it. The exit code is 0 when its command ran and exited with 0, otherwise 1.",
		Args:  exactArgs(1, "OPERATION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.call(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				op, err := c.Wait(ctx, args[0], stageWatcher(cmd.ErrOrStderr(), verbose))
				if err != nil {
					return err
				}
				if err := printOperation(cmd.OutOrStdout(), op, asJSON); err != nil {
					return err
				}
				if op.Outcome() != nil || op.Response.GetResult().GetExitCode() != 0 {
					return &exitError{code: exitFailed}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as one JSON object")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "tell each change on stderr")
	return cmd
}
