package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/node/client/images"
)

func newChrootPushCmd() *cobra.Command {
	f, r := &imageFlags{}, &remote{}
	cmd := &cobra.Command{
		Use:   "push IMAGE",
		Short: "Upload an image's file system and print its digest",
		Long: "Upload an image's file system without unpacking it to the disk, and print its digest, HASH/SIZE, alone on stdout: the value for\n" +
			"the platform property chrootRootDigest. Only what the server lacks is sent.\n\n" + imageHelp,
		Example: "  bgrid-node run -p runner=userchroot -p chrootRootDigest=$(bgrid-node chroot push gcc:14) -i a.c -o a.o -- gcc -c a.c",
		Args:    exactArgs(1, "IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.call(cmd.Context(), func(_ context.Context, c *client.Client) error {
				return f.push(cmd, c, args[0])
			})
		},
	}
	f.register(cmd)
	r.register(cmd)
	return cmd
}

func (f *imageFlags) push(cmd *cobra.Command, c *client.Client, image string) error {
	// A server that is not there is better known before an image is downloaded.
	if _, err := c.Capabilities(cmd.Context()); err != nil {
		return err
	}
	var root client.Digest
	var stats images.PushStats
	err := f.with(cmd, image, func(ctx context.Context, im *images.Image) (_ images.Stats, err error) {
		root, stats, err = im.Push(ctx, c)
		return stats.Stats, err
	})
	if err != nil {
		return err
	}
	noteLine(cmd, fmt.Sprintf("%d files in %d directories, %s; sent %d of %d blobs, %s", stats.Files, stats.Directories,
		sizeText(float64(stats.Stats.Bytes)), stats.SentBlobs, stats.Blobs, sizeText(float64(stats.SentBytes))))
	_, err = fmt.Fprintln(cmd.OutOrStdout(), root)
	return err
}
