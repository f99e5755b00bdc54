package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node/client"
)

func newCasDownloadCmd(r *remote) *cobra.Command {
	var file bool
	cmd := &cobra.Command{
		Use:   "download DIGEST DIR",
		Short: "Download a directory, or with --file a file",
		Long: "Download the directory with this digest into DIR, which is made where it is not there. What is in the way is\n" +
			"replaced, other entries stay, and nothing outside of DIR is touched. With --file the digest is a single file's and\n" +
			"the second argument its path, \"-\" for stdout. All content is verified.",
		Args: exactArgs(2, "DIGEST and DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := parseDigest(args[0])
			if err != nil {
				return err
			}
			return r.call(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				p := &client.Progress{}
				defer showProgress(cmd.ErrOrStderr(), "download", p)()
				switch {
				case file && args[1] == "-":
					return c.Fetch(ctx, d, cmd.OutOrStdout())
				case file:
					return c.DownloadFile(ctx, d, args[1], p)
				}
				_, err := c.DownloadTree(ctx, d, args[1], p)
				if errors.Is(err, client.ErrMalformed) {
					err = fmt.Errorf("%w; a single file is downloaded with --file", err)
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&file, "file", false, "the digest is a file's")
	return cmd
}
