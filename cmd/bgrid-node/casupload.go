package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node/client"
)

// casupload is recc's tool of that name.
type casupload struct {
	server, instance string
	dryRun           bool
	digestFile       string
}

func newCasuploadCmd() *cobra.Command {
	u := &casupload{}
	cmd := &cobra.Command{
		Use:   "casupload PATH...",
		Short: "Upload directories and files and print the digests of their Directory messages",
		Long: "Upload to content-addressable storage, as recc's tool of this name does. Each directory is a tree of its own; files and symbolic\n" +
			"links are put together into one tree, under their paths. The digest of each tree, HASH/SIZE, is printed on a line of stdout.\n" +
			"Symbolic links stay links.\n\n" +
			"The server is that of RECC_CAS_SERVER or RECC_SERVER (http://HOST:PORT), the instance that of RECC_CAS_INSTANCE or RECC_INSTANCE.\n" +
			"Without these it is where `bgrid-node cas upload` goes.",
		Args: minArgs(1, "a PATH"),
		RunE: u.run,
	}
	flags := cmd.Flags()
	flags.StringVar(&u.server, "cas-server", "", "`URL` of the server, before the variables")
	flags.StringVar(&u.instance, "instance", "", "instance `NAME` on it, before the variables")
	flags.BoolVarP(&u.dryRun, "dry-run", "d", false, "only print the digests")
	flags.StringVar(&u.digestFile, "output-digest-file", "", "write the last digest into `FILE`, too")
	return cmd
}

func (u *casupload) run(cmd *cobra.Command, args []string) error {
	var instance *string
	if cmd.Flags().Changed("instance") {
		instance = &u.instance
	}
	r, err := reccServer(u.server, instance)
	if err != nil {
		return err
	}
	if u.dryRun {
		c, err := client.Dial(r.server, r.instance, client.Options{}) // sends nothing
		if err != nil {
			return err
		}
		return errors.Join(u.each(cmd, args, c), c.Close())
	}
	return r.call(cmd.Context(), func(_ context.Context, c *client.Client) error { return u.each(cmd, args, c) })
}

// each uploads every directory, and all else together.
func (u *casupload) each(cmd *cobra.Command, paths []string, c *client.Client) error {
	var files []string
	var last client.Digest
	upload := func(tree *client.Tree, err error) error {
		if err != nil {
			return err
		}
		last = tree.Root
		if !u.dryRun {
			p := &client.Progress{}
			stop := showProgress(cmd.ErrOrStderr(), "upload", p)
			_, err := c.Upload(cmd.Context(), tree.Sources, p)
			stop()
			if err != nil {
				return err
			}
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), tree.Root)
		return err
	}
	for _, path := range paths {
		info, err := os.Stat(path) // a link to a directory is one, as for `cas upload`
		if err != nil || !info.IsDir() {
			files = append(files, path)
			continue
		}
		if err := upload(client.ReadDir(cmd.Context(), c.Function(), path)); err != nil {
			return err
		}
	}
	if len(files) > 0 {
		if err := upload(client.ReadInputs(cmd.Context(), c.Function(), ".", files, ".")); err != nil {
			return err
		}
	}
	if u.digestFile == "" {
		return nil
	}
	return os.WriteFile(u.digestFile, []byte(last.String()), 0o644) //nolint:gosec // not secret
}
