package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node/client"
)

func newCasTreeCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:   "tree DIGEST",
		Short: "List what a directory holds",
		Long: "List every path beneath the directory with this digest, in order: its kind (dir, file, exec, link), its digest, its\n" +
			"path; for a link -> and its target in place of the digest's column.",
		Args: exactArgs(1, "DIGEST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := parseDigest(args[0])
			if err != nil {
				return err
			}
			return r.call(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				out := bufio.NewWriter(cmd.OutOrStdout())
				err := c.WalkTree(ctx, d, func(e client.Entry) (err error) {
					if e.Kind == client.SymlinkEntry {
						_, err = fmt.Fprintf(out, "%s %s -> %s\n", e.Kind, e.Path, e.Target)
						return err
					}
					_, err = fmt.Fprintf(out, "%s %s %s\n", e.Kind, e.Digest, e.Path)
					return err
				})
				return errors.Join(err, out.Flush())
			})
		},
	}
}
