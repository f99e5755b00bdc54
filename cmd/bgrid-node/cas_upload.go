package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node/client"
)

func newCasUploadCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:   "upload DIR|FILE",
		Short: "Upload a directory or a file and print its digest",
		Long: "Upload a directory or a file and print its digest, HASH/SIZE, alone on stdout: of a file the digest of its content,\n" +
			"of a directory that of its Directory message. Symbolic links in it stay links.",
		Args: exactArgs(1, "DIR|FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.call(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				d, sources, err := client.ReadPath(ctx, c.Function(), args[0])
				if err != nil {
					return err
				}
				p := &client.Progress{}
				stop := showProgress(cmd.ErrOrStderr(), "upload", p)
				_, err = c.Upload(ctx, sources, p)
				stop()
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), d)
				return err
			})
		},
	}
}
