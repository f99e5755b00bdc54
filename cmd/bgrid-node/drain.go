package main

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// newDrainNodeCmd makes `drain`.
func newDrainNodeCmd() *cobra.Command {
	p := &pages{}
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "Take the node on this machine out of service, and wait until it has nothing left to do",
		Long: "Take the node on this machine out of service: it takes no new work and is not ready any more; in a cluster it hands its leadership over first. " +
			"The command returns when what runs on it has ended, or after the node's --drain-timeout. The node goes on to answer until it is stopped.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.ask(cmd.Context(), http.MethodPost, "/api/drain", func(io.Reader) error { return nil }); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.ErrOrStderr(), "drained")
			return err
		},
	}
	p.register(cmd)
	cmd.Flags().DurationVar(&p.patience, "timeout", time.Hour, "how long to wait at most")
	return cmd
}
