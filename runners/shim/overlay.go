package shim

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Overlay shows a directory tree that many share as if it were the command's own:
// what the command changes goes to Upper, Lower is never written.
type Overlay struct {
	Lower  string // absolute, as are all
	Upper  string // holds files of the command's own already, which win
	Work   string // empty, in the same file system as Upper
	Merged string // empty: where all is seen
	// Dirs are made in it, with their parents, unless they are there: clean, relative
	// to the root, links followed inside.
	Dirs []string
}

func (o *Overlay) paths() []*string { return []*string{&o.Lower, &o.Upper, &o.Work, &o.Merged} }

// mount mounts it and returns its root directory (O_PATH). The file system lives
// until that is closed and it is unmounted.
func (o *Overlay) mount() (root int, err error) {
	options := "lowerdir=" + escapeOption(o.Lower, true) + ",upperdir=" + escapeOption(o.Upper, false) +
		",workdir=" + escapeOption(o.Work, false)
	if os.Geteuid() != 0 || inUserNamespace() {
		options += ",userxattr"
	}
	// Nobody needs these files after a power cut: a sync has nothing to do.
	const flags = unix.MS_NODEV | unix.MS_NOSUID
	err = unix.Mount("overlay", o.Merged, "overlay", flags, options+",volatile")
	if errors.Is(err, unix.EINVAL) { // before Linux 5.10
		err = unix.Mount("overlay", o.Merged, "overlay", flags, options)
	}
	if err != nil {
		return 0, fmt.Errorf("mount overlay: %w", err)
	}
	fd, err := unix.Open(o.Merged, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		for _, dir := range o.Dirs {
			if err = mkdirAllIn(fd, dir); err != nil {
				unix.Close(fd)
				break
			}
		}
	}
	if err != nil {
		o.unmount()
		return 0, fmt.Errorf("prepare overlay: %w", err)
	}
	return fd, nil
}

// unmount takes it from the shim's mounts.
func (o *Overlay) unmount() { _ = unix.Unmount(o.Merged, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) }

// escapeOption writes a path so that it ends where it should: a comma ends an
// option, a colon a lower directory.
func escapeOption(path string, list bool) string {
	path = strings.NewReplacer(`\`, `\\`, `,`, `\,`).Replace(path)
	if list {
		path = strings.ReplaceAll(path, ":", `\:`)
	}
	return path
}

// inUserNamespace tells whether this process is root only in a namespace of its
// own, whose overlays must keep their marks in attributes of users.
func inUserNamespace() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(b)), " ") != "0 0 4294967295"
}

// mkdirAllIn makes a directory and its parents below root, links followed as in a
// process whose root directory that is.
func mkdirAllIn(root int, dir string) error {
	if dir == "" || dir == "." {
		return nil
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	if fd, err := unix.Openat2(root, dir, &how); err == nil {
		unix.Close(fd)
		return nil
	}
	parent, name := path.Split(dir)
	parent = strings.TrimSuffix(parent, "/")
	if err := mkdirAllIn(root, parent); err != nil {
		return err
	}
	if parent == "" {
		parent = "."
	}
	at, err := unix.Openat2(root, parent, &how)
	if err != nil {
		return fmt.Errorf("open %s: %w", parent, err)
	}
	defer unix.Close(at)
	if err := unix.Mkdirat(at, name, 0o755); err != nil && err != unix.EEXIST {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	return nil
}
