package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node"
)

func newFsckCmd() *cobra.Command {
	o := &optionFlags{}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "fsck",
		Short: "Check all that a stopped node has stored",
		Long: "Check all that a stopped node has stored: every blob against its hash, the action cache, the queue and, in a cluster, the command log.\n" +
			"Nothing is repaired. It prints a line for each finding, and a hash of the node's state with its place in the command log: nodes of one\n" +
			"cluster that came equally far have the same. The exit code is 1 when something is wrong.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := o.load()
			if err != nil {
				return usageError(err)
			}
			c, err := fsck(cmd, loaded.Config.DataDir)
			if err != nil {
				return err
			}
			print := c.Print
			if asJSON {
				print = c.PrintJSON
			}
			if err := print(cmd.OutOrStdout()); err != nil {
				return err
			}
			if !c.Clean() {
				return &exitError{code: exitFailed}
			}
			return nil
		},
	}
	o.register(cmd, "data-dir")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// fsck shows how far it has come on a terminal.
func fsck(cmd *cobra.Command, dir string) (*node.Checkup, error) {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("--data-dir %s does not exist", dir)
	}
	var read, all atomic.Int64
	stop := drawProgress(cmd.ErrOrStderr(), func() (string, progressLine) {
		return "fsck", progressLine{unit: "MiB of blobs", done: read.Load() >> 20, all: all.Load() >> 20, bytes: read.Load(), allBytes: all.Load()}
	})
	defer stop()
	return node.Fsck(cmd.Context(), node.FsckOptions{
		DataDir: dir, Logger: slog.New(slog.DiscardHandler),
		Progress: func(r, a int64) { read.Store(r); all.Store(a) },
	})
}
