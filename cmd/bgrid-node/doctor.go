package main

import (
	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node"
)

func newDoctorCmd() *cobra.Command {
	o := &optionFlags{}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can and cannot do for each runner, and how to mend it",
		Long: "Say what this machine can and cannot do for each runner, and how to mend it. It tries everything out, as a server or\n" +
			"worker with the same options, user and container would, and disturbs none that is running. The exit code is 1 when a runner is not available.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := o.load()
			if err != nil {
				return usageError(err)
			}
			d := node.Doctor(&loaded.Config)
			if err := d.Print(cmd.OutOrStdout()); err != nil {
				return err
			}
			if !d.Healthy() {
				return &exitError{code: exitFailed}
			}
			return nil
		},
	}
	o.register(cmd)
	return cmd
}
