// Command image makes an image archive, which `docker load`, `ctr images import` and
// `kind load image-archive` take, out of a file tree that rootfs.sh made. What else
// an image says (user, environment, what to run) is read from packaging/Dockerfile.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func main() {
	var (
		root       = flag.String("root", "", "`TAR` with the file tree")
		dockerfile = flag.String("dockerfile", "packaging/Dockerfile", "`FILE` that says what to run, and how")
		stage      = flag.String("stage", "", "its stage, by `NAME`")
		tag        = flag.String("tag", "", "`NAME:TAG` of the image")
		out        = flag.String("o", "", "archive to write")
		epoch      = flag.Int64("epoch", 0, "time of the image in `SECONDS` since 1970")
	)
	flag.Parse()
	if err := build(*root, *dockerfile, *stage, *tag, *out, time.Unix(*epoch, 0).UTC()); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// build writes the archive. The same arguments and files make the same archive.
func build(root, dockerfile, stage, tag, out string, at time.Time) error {
	ref, err := name.NewTag(tag)
	if err != nil {
		return fmt.Errorf("-tag: %w", err)
	}
	text, err := os.ReadFile(dockerfile)
	if err != nil {
		return fmt.Errorf("read Dockerfile: %w", err)
	}
	config, err := stageConfig(string(text), stage)
	if err != nil {
		return fmt.Errorf("%s: %w", dockerfile, err)
	}
	layer, err := tarball.LayerFromFile(root)
	if err != nil {
		return fmt.Errorf("read file tree: %w", err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return fmt.Errorf("add file tree: %w", err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	file.Created = v1.Time{Time: at}
	file.Config = config
	if img, err = mutate.ConfigFile(img, file); err != nil {
		return fmt.Errorf("set configuration: %w", err)
	}
	if err := tarball.WriteToFile(out, ref, img); err != nil {
		return errors.Join(fmt.Errorf("write archive: %w", err), os.Remove(out))
	}
	return nil
}
