package main

import "github.com/spf13/cobra"

func newCasCmd() *cobra.Command {
	r := &remote{}
	cmd := &cobra.Command{
		Use:   "cas",
		Short: "Move files to and from a server's content-addressable storage",
		RunE:  needsSubcommand,
	}
	r.register(cmd)
	cmd.AddCommand(newCasUploadCmd(r), newCasDownloadCmd(r), newCasTreeCmd(r), newCasStatCmd(r))
	return cmd
}
