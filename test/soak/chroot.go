package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/bgrid-node/bgrid-node/test/harness"
)

// onlyThere is the name of the compiler in the chroot; no machine has it.
const onlyThere = "/opt/only-there/gcc"

// chrootLoop is the flow of BuildGrid's example: a root file system, packed as a
// Docker image, becomes a chroot, and an action compiles with what exists only in
// it. It needs debootstrap, a Debian mirror, and root.
func chrootLoop(ctx context.Context, s *settings) error {
	tree, archive := filepath.Join(s.dir, "debian"), filepath.Join(s.dir, "image.tar")
	began := time.Now()
	if err := command(ctx, "debootstrap", "--variant=minbase", "--include=gcc,libc6-dev", "stable", tree); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(tree, filepath.Dir(onlyThere)), 0o755); err != nil {
		return err
	}
	if err := os.Symlink("/usr/bin/gcc", filepath.Join(tree, onlyThere)); err != nil {
		return err
	}
	if err := packImage(ctx, tree, archive); err != nil {
		return err
	}
	s.say("chroot: a Debian with gcc was packed in %s", time.Since(began).Round(time.Second))
	n, err := harness.Launch(ctx, harness.Options{Binary: s.binary, Dir: filepath.Join(s.dir, "data"), Args: []string{"--cas-max-size", "4GiB", "--slots", "1"}})
	if err != nil {
		return err
	}
	defer n.Kill()
	if err := useChroot(ctx, s, n, archive); err != nil {
		return fmt.Errorf("%w\n%s", err, n.Log())
	}
	return n.Stop()
}

// useChroot takes the steps that a user of the example takes, and checks that push
// comes to the same.
func useChroot(ctx context.Context, s *settings, n *harness.Node, archive string) error {
	env := append(os.Environ(), "BGRID_SERVER="+n.GRPC, "RECC_CAS_SERVER=http://"+n.GRPC, "RECC_INSTANCE=buildgrid")
	casupload := filepath.Join(s.dir, "casupload")
	if err := os.Symlink(s.binary, casupload); err != nil {
		return err
	}
	step := func(what string, args ...string) (string, error) {
		began := time.Now()
		out, err := output(ctx, s.dir, env, args...)
		s.say("chroot: %s took %s", what, time.Since(began).Round(time.Millisecond))
		return strings.TrimSpace(out), err
	}
	if _, err := step("build", s.binary, "chroot", "build", archive, "root"); err != nil {
		return err
	}
	digest, err := step("casupload", casupload, "root")
	if err != nil {
		return err
	}
	pushed, err := step("push of what is there", s.binary, "chroot", "push", archive)
	if err == nil && pushed != digest {
		err = fmt.Errorf("pushed as %s, uploaded as %s", pushed, digest)
	}
	if err != nil {
		return err
	}
	source := "int main(void) { return 42; }\n"
	if err := os.WriteFile(filepath.Join(s.dir, "a.c"), []byte(source), 0o600); err != nil {
		return err
	}
	for i, what := range []string{"the first compile", "the second"} {
		_, err := step(what, s.binary, "run", "-p", "runner=userchroot", "-p", "chrootRootDigest="+digest, "-i", "a.c", "-o", "a.out",
			"--", onlyThere, fmt.Sprintf("-DROUND=%d", i), "-static", "-o", "a.out", "a.c")
		if err != nil {
			return err
		}
		var exit *exec.ExitError
		if err := exec.CommandContext(ctx, filepath.Join(s.dir, "a.out")).Run(); !errors.As(err, &exit) || exit.ExitCode() != 42 {
			return fmt.Errorf("what was compiled ended with %v, want exit code 42", err)
		}
	}
	return nil
}

// packImage makes a `docker save` archive of a root file system.
func packImage(ctx context.Context, tree, archive string) error {
	layer := archive + ".layer"
	if err := command(ctx, "tar", "--numeric-owner", "-C", tree, "-cf", layer, "."); err != nil {
		return err
	}
	if err := checkDevices(layer); err != nil {
		return err
	}
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH})
	if err != nil {
		return err
	}
	l, err := tarball.LayerFromFile(layer)
	if err != nil {
		return fmt.Errorf("make layer: %w", err)
	}
	if img, err = mutate.AppendLayers(img, l); err != nil {
		return err
	}
	tag, err := name.NewTag("debian/gcc")
	if err != nil {
		return err
	}
	return tarball.WriteToFile(archive, tag, img)
}

// checkDevices makes sure that the image has what must be left out.
func checkDevices(layer string) error {
	f, err := os.Open(layer)
	if err != nil {
		return err
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return errors.New("the root file system has no device nodes")
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeChar {
			return nil
		}
	}
}

// output runs a command and returns what it prints on stdout.
func output(ctx context.Context, dir string, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		last := stderr.String()
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, last[max(0, len(last)-2000):])
	}
	return stdout.String(), nil
}
