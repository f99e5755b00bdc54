package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node/client/images"
)

// imageHelp is what an IMAGE argument may be.
const imageHelp = "IMAGE is a `docker save` archive or an OCI layout (a directory or an archive; PATH:TAG when it holds several images), \"-\" for an\n" +
	"archive on stdin, or a reference such as debian:12, which the local Docker daemon is asked for first, and then the registry.\n" +
	"oci:PATH, docker-archive:PATH, docker-daemon:REFERENCE and docker://REFERENCE say which of these is meant. Layers are verified.\n" +
	"Device nodes, owners and set-id bits are left out: neither root nor privileges are needed. See docs/chroots.md."

func newChrootCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "chroot",
		Short: "Make a build environment out of a Docker image",
		RunE:  needsSubcommand,
	}
	cmd.AddCommand(newChrootBuildCmd(), newChrootPushCmd())
	return cmd
}

// imageFlags say how an image is opened.
type imageFlags struct {
	platform string
	insecure bool
	tempDir  string
}

func (f *imageFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.platform, "platform", "", "`OS/ARCHITECTURE[/VARIANT]` of the image; the default is Linux on this machine's architecture")
	flags.BoolVar(&f.insecure, "insecure", false, "allow a registry without TLS; one on this machine needs no permission")
	flags.StringVar(&f.tempDir, "temp-dir", "", "`DIR` for what is kept meanwhile, such as a registry's compressed layers; the default is $TMPDIR or /tmp")
}

// with opens the image, shows progress, and explains errors. A first SIGINT or
// SIGTERM ends the work in good order: nothing half-made is left.
func (f *imageFlags) with(cmd *cobra.Command, name string, do func(context.Context, *images.Image) (images.Stats, error)) error {
	platform, err := images.ParsePlatform(f.platform)
	if err != nil {
		return usageError(err)
	}
	ctx, stopSignals := untilInterrupted(cmd.Context())
	defer stopSignals()
	p := &images.Progress{}
	stop := drawProgress(cmd.ErrOrStderr(), func() (string, progressLine) {
		s := p.State()
		return s.Phase, progressLine{unit: s.Unit, done: s.Done, all: s.All, bytes: s.Bytes, allBytes: s.AllBytes}
	})
	var notes []string // shown when the bar is gone
	stats, err := func() (images.Stats, error) {
		im, err := images.Open(ctx, name, images.Options{
			Platform: platform,
			Insecure: f.insecure,
			TempDir:  f.tempDir,
			Stdin:    cmd.InOrStdin(),
			Progress: p,
			Note:     func(text string) { notes = append(notes, text) },
		})
		if err != nil {
			return images.Stats{}, err
		}
		stats, err := do(ctx, im)
		return stats, errors.Join(err, im.Close())
	}()
	stop()
	for _, n := range notes {
		noteLine(cmd, n)
	}
	if note := skippedNote(stats.Skipped); note != "" && err == nil {
		noteLine(cmd, note)
	}
	var stopped *interrupt
	switch {
	case err == nil:
		return nil
	case errors.As(context.Cause(ctx), &stopped):
		return &exitError{code: 128 + int(stopped.signal), err: stopped}
	case errors.Is(err, images.ErrPlatform):
		return fmt.Errorf("%w; name another with --platform", err)
	}
	return err
}

func noteLine(cmd *cobra.Command, text string) {
	_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "bgrid-node: "+oneLine(text))
}

// shownSkipped is how many skipped entries are named.
const shownSkipped = 5

// skippedNote says what of an image is not in the tree.
func skippedNote(all []images.Skipped) string {
	if len(all) == 0 {
		return ""
	}
	var names []string
	for _, s := range all[:min(len(all), shownSkipped)] {
		names = append(names, fmt.Sprintf("%q (%s)", s.Path, s.Why))
	}
	if more := len(all) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return fmt.Sprintf("left out what a tree cannot hold: %s", strings.Join(names, ", "))
}
