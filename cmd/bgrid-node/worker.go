package main

import (
	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node"
)

func newWorkerCmd() *cobra.Command {
	o := &optionFlags{worker: true}
	var printOnly bool
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Run actions for a server on another machine; list and drain workers",
		Long: "Run actions for a server on another machine, until SIGTERM or SIGINT: then what runs is finished and the worker leaves.\n" +
			"While the server is away, what runs goes on. See docs/workers.md.",
		Example: "  bgrid-node worker --server grid.example.com:50051 --slots 8\n" +
			"  bgrid-node worker --server a:50051 --server b:50051 --property OSFamily=linux --property gpu=a100",
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := o.load()
			if err != nil {
				return usageError(err)
			}
			if printOnly {
				return loaded.Print(cmd.OutOrStdout())
			}
			return node.ServeWorker(cmd.Context(), loaded.Config, node.Build{Version: version().Version, Revision: version().Revision}, cmd.ErrOrStderr())
		},
	}
	o.register(cmd)
	cmd.Flags().BoolVar(&printOnly, "print-config", false, "print each value of the configuration with its source and do nothing else")
	cmd.AddCommand(
		newWorkerListCmd(),
		newDrainCmd("drain", "Let workers finish what they run, and give them nothing more",
			"Let workers finish what they run, and give them nothing more, until they are undrained or the server is restarted."),
		newDrainCmd("undrain", "Give drained workers work again", ""),
	)
	return cmd
}
