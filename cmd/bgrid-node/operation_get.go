package main

import (
	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node/client"
)

func newOperationGetCmd(r *remote) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "get OPERATION",
		Short: "Show one execution as it is now",
		Args:  exactArgs(1, "OPERATION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return lookAt(r, cmd, args[0], func(op *client.Operation) error {
				return printOperation(cmd.OutOrStdout(), op, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as one JSON object")
	return cmd
}
