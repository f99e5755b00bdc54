package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node/client/images"
)

func newChrootBuildCmd() *cobra.Command {
	f := &imageFlags{}
	cmd := &cobra.Command{
		Use:     "build IMAGE DIR",
		Short:   "Lay an image's file system out in a directory",
		Long:    "Lay an image's file system out in DIR, which must be empty or not there. `bgrid-node cas upload DIR` prints its digest.\n\n" + imageHelp,
		Example: "  bgrid-node chroot build debian:12 ./debian\n  docker save my/env | bgrid-node chroot build - ./env",
		Args:    exactArgs(2, "IMAGE and DIR"),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.build(cmd, args[0], args[1]) },
	}
	f.register(cmd)
	return cmd
}

func (f *imageFlags) build(cmd *cobra.Command, image, dir string) error {
	return f.with(cmd, image, func(ctx context.Context, im *images.Image) (images.Stats, error) {
		return im.Build(ctx, dir)
	})
}
