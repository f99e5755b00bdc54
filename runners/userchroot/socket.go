package userchroot

import (
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// placeSocket makes a file for the socket to be mounted on: before the root becomes
// read-only, or, in a /tmp that is mounted afresh, after that.
func (p plan) placeSocket(root int, inTmp bool) error {
	if p.Socket == "" || inTmp != (p.OwnTmp && strings.HasPrefix(p.SocketPath, "tmp/")) {
		return nil
	}
	dir := path.Dir(p.SocketPath)
	if err := makeDirs(root, dir); err != nil {
		return fmt.Errorf("make /%s for the socket: %w", dir, err)
	}
	parent, err := openIn(root, dir)
	if err != nil {
		return fmt.Errorf("open /%s for the socket: %w", dir, err)
	}
	defer unix.Close(parent)
	fd, err := unix.Openat(parent, path.Base(p.SocketPath), unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o444)
	if err != nil {
		return fmt.Errorf("make /%s: %w", p.SocketPath, err)
	}
	return unix.Close(fd)
}

func makeDirs(root int, dir string) error {
	if dir == "." {
		return nil
	}
	if err := makeDirs(root, path.Dir(dir)); err != nil {
		return err
	}
	parent, err := openIn(root, path.Dir(dir))
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	if err := unix.Mkdirat(parent, path.Base(dir), 0o755); err != nil && err != unix.EEXIST {
		return err
	}
	return nil
}

// mountSocket binds the host's socket, which is reached by its inode.
func (p plan) mountSocket(root int) error {
	if p.Socket == "" {
		return nil
	}
	at, err := openIn(root, p.SocketPath)
	if err != nil {
		return fmt.Errorf("open /%s: %w", p.SocketPath, err)
	}
	defer unix.Close(at)
	if err := unix.Mount(p.Socket, fdPath(at), "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount /%s: %w", p.SocketPath, err)
	}
	return nil
}
