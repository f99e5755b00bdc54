package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	diskBytes = 3 << 30 // of the image, which is sparse
	copyTries = 20
	// fileTimeTick is more than the granularity of file times.
	fileTimeTick = 20 * time.Millisecond
)

// disk is an ext4 file system in an image, mounted by a loop device.
type disk struct {
	dir     string
	image   string
	mount   string
	mounted bool
}

// loopDevices says why images cannot be mounted here, if they cannot.
func loopDevices(ctx context.Context, dir string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("only root may mount")
	}
	probe := &disk{dir: filepath.Join(dir, "probe"), image: filepath.Join(dir, "probe", "image"), mount: filepath.Join(dir, "probe", "mount")}
	if err := probe.make(ctx, 16<<20); err != nil {
		return err
	}
	return probe.remove()
}

// newDisk makes and mounts an empty disk.
func newDisk(ctx context.Context, dir string) (*disk, error) {
	d := &disk{dir: dir, image: filepath.Join(dir, "image"), mount: filepath.Join(dir, "mount")}
	if err := d.make(ctx, diskBytes); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *disk) make(ctx context.Context, size int64) error {
	if err := os.MkdirAll(d.mount, 0o755); err != nil {
		return err
	}
	f, err := os.Create(d.image)
	if err != nil {
		return err
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := command(ctx, "mkfs.ext4", "-q", "-F", d.image); err != nil {
		return err
	}
	return d.attach(ctx)
}

// attach mounts the image. ext4 replays its journal, as after a power cut.
func (d *disk) attach(ctx context.Context) error {
	if err := command(ctx, "mount", "-t", "ext4", "-o", "loop,noatime", d.image, d.mount); err != nil {
		return err
	}
	d.mounted = true
	return nil
}

// remove unmounts the disk and removes its image. What used it has ended.
func (d *disk) remove() error {
	if d.mounted {
		if err := command(context.Background(), "umount", d.mount); err != nil {
			return err
		}
		d.mounted = false
	}
	return os.RemoveAll(d.dir)
}

// copyAsIs copies the image as the device has it at one moment; what is only in
// the memory of the file system above it is not in there. The kernel may write to
// the image while it is copied: such a copy is of no moment, and is made again.
func (d *disk) copyAsIs(ctx context.Context, dir string) (*disk, error) {
	next := &disk{dir: dir, image: filepath.Join(dir, "image"), mount: filepath.Join(dir, "mount")}
	if err := os.MkdirAll(next.mount, 0o755); err != nil {
		return nil, err
	}
	for range copyTries {
		before, err := modified(d.image)
		if err != nil {
			return nil, err
		}
		time.Sleep(fileTimeTick) // a write during the copy has a later time
		if err := command(ctx, "cp", "--sparse=always", d.image, next.image); err != nil {
			return nil, err
		}
		after, err := modified(d.image)
		if err != nil {
			return nil, err
		}
		if before.Equal(after) {
			return next, nil
		}
	}
	return nil, fmt.Errorf("the image was written to during each of %d copies", copyTries)
}

func modified(path string) (time.Time, error) {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

func command(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}
