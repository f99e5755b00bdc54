package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node/client"
)

func newCasStatCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:   "stat DIGEST...",
		Short: "Say whether the server has blobs",
		Long:  "Say for each digest whether the server has the blob: \"present\" or \"missing\" after it. The exit code is 1 when one is missing.",
		Args:  minArgs(1, "DIGEST..."),
		RunE: func(cmd *cobra.Command, args []string) error {
			var all []client.Digest
			for _, text := range args {
				d, err := parseDigest(text)
				if err != nil {
					return err
				}
				all = append(all, d)
			}
			return r.call(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				if _, err := c.Capabilities(ctx); err != nil {
					return err
				}
				missing, err := c.FindMissing(ctx, all)
				if err != nil {
					return err
				}
				lacks := map[client.Digest]bool{}
				for _, d := range missing {
					lacks[d] = true
				}
				for _, d := range all {
					word := "present"
					if lacks[d] {
						word = "missing"
					}
					if _, err := fmt.Fprintln(cmd.OutOrStdout(), d, word); err != nil {
						return err
					}
				}
				if len(missing) > 0 {
					return &exitError{code: exitFailed}
				}
				return nil
			})
		},
	}
}
