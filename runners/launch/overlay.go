package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/shim"
)

// ErrNoMounts says that this process cannot have mounts of its own.
var ErrNoMounts = errors.New("this process may not make mounts of its own")

// ProbeOverlay tells why the launcher's shims cannot mount overlays in dir, "" for
// the directory of temporary files. The way there is the one that tasks go.
func ProbeOverlay(ctx context.Context, l *Launcher, dir string) error {
	if dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("try out overlays: %w", err)
		}
	}
	base, err := os.MkdirTemp(dir, "overlay-probe")
	if err != nil {
		return fmt.Errorf("try out overlays: %w", err)
	}
	defer removeWork(base)
	o := &shim.Overlay{
		Lower: filepath.Join(base, "lower"), Upper: filepath.Join(base, "upper"),
		Work: filepath.Join(base, "work"), Merged: filepath.Join(base, "merged"), Dirs: []string{"a/b"},
	}
	for _, d := range []string{o.Lower + "/a", o.Upper, o.Work, o.Merged} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("try out overlays: %w", err)
		}
	}
	if err := os.WriteFile(o.Lower+"/a/file", []byte("lower"), 0o644); err != nil {
		return fmt.Errorf("try out overlays: %w", err)
	}
	reply, err := l.Run(ctx, shim.Request{Path: "/proc/self/exe", Args: []string{"/proc/self/exe"}, Dir: "/proc/none", Overlay: o}, runners.Limits{})
	if err != nil {
		return err
	}
	defer reply.CloseRoot()
	if reply.Stage == shim.StageMount {
		return fmt.Errorf("%s: %w", reply.Note, reply.Errno)
	}
	// The files must be reachable from here, too: outputs are collected from there.
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d/a/file", reply.Root.Fd()))
	if err != nil || string(b) != "lower" {
		return fmt.Errorf("read a file of an overlay: %q, %w", b, err)
	}
	return nil
}

// removeWork removes what a probe left; the kernel made directories without rights.
func removeWork(base string) {
	_ = filepath.WalkDir(base, func(path string, d os.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	_ = os.RemoveAll(base)
}
