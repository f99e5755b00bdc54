package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node/client"
)

func newOperationCancelCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:   "cancel OPERATION...",
		Short: "Cancel executions",
		Long: "Cancel executions. An action that others wait for too goes on for them. To cancel one that is done, or twice, does\n" +
			"no harm.",
		Args: minArgs(1, "OPERATION..."),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.call(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				for _, name := range args {
					if err := c.Cancel(ctx, name); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}
