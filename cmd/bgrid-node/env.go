package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node"
)

func newEnvCmd() *cobra.Command {
	o := &optionFlags{}
	var client string
	cmd := &cobra.Command{
		Use:   "env --client " + strings.Join(node.Clients(), "|"),
		Short: "Print the lines that connect a client to this node",
		Long:  "Print the lines that connect a client to this node, for the configuration that a node started here would have.",
		Example: "  bgrid-node env --client bazel >> .bazelrc\n" +
			"  eval \"$(bgrid-node env --client recc)\"\n" +
			"  bgrid-node env --client buildstream >> ~/.config/buildstream.conf",
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := o.load()
			if err != nil {
				return usageError(err)
			}
			lines, err := node.ClientLines(client, loaded.Config.Listen, loaded.Config.Instance)
			if err != nil {
				return usageError(err)
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), lines)
			return err
		},
	}
	o.register(cmd, "listen", "instance")
	cmd.Flags().StringVar(&client, "client", "", "the client: `"+strings.Join(node.Clients(), "|")+"`")
	return cmd
}
