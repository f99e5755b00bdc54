package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node/client"
)

func newWhyCmd() *cobra.Command {
	r := &remote{}
	cmd := &cobra.Command{
		Use:   "why OPERATION",
		Short: "Say why an execution waits",
		Long:  "Say in one line why an execution waits, or where it runs, or how it ended. Only servers that tell can be asked: this one does.",
		Args:  exactArgs(1, "OPERATION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return lookAt(r, cmd, args[0], func(op *client.Operation) error {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), reason(op.Summary()))
				return err
			})
		},
	}
	r.register(cmd)
	return cmd
}

func reason(s client.Summary) string {
	switch text := detail(s); {
	case text != "-":
		return s.Stage + ": " + text
	case s.Done:
		return s.Stage
	default:
		return s.Stage + "; the server does not say why"
	}
}
