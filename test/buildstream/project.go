// Package buildstream makes a small offline project and builds it with
// BuildStream 2, remotely only.
package buildstream

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// files is the project, but for its root file system.
//
//go:embed files
var files embed.FS

// Where `make setup` puts BuildStream, below the root of the source tree, and
// Debian's busybox, which must be the static one.
const (
	program = "bin/buildstream/bin/bst"
	busybox = "/usr/bin/busybox"
)

// applets are the commands of the project's root file system.
var applets = [...]string{"sh", "cat", "chmod", "cp", "echo", "id", "ln", "mkdir", "rm", "stat", "touch", "tr"}

// commandPatience is far above what a command takes.
const commandPatience = 3 * time.Minute

// Project is a project on disk. Clients of it may be used at the same time.
type Project struct {
	bst  string
	root string
}

// New writes the project beneath dir. source is the root of the source tree, node a
// bgrid-node for one element to use. The error says what is not installed.
func New(dir, source, node string) (*Project, error) {
	bst, err := filepath.Abs(filepath.Join(source, program))
	if err != nil {
		return nil, err
	}
	p := &Project{bst: bst, root: dir}
	for _, path := range []string{bst, busybox} {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("BuildStream or busybox is not installed: run `make setup` (%w)", err)
		}
	}
	project, err := fs.Sub(files, "files")
	if err != nil {
		return nil, err
	}
	if err := os.CopyFS(p.Dir(), project); err != nil {
		return nil, fmt.Errorf("write the project: %w", err)
	}
	if err := copyFile(node, filepath.Join(p.Dir(), "files/tool/bin/bgrid-node")); err != nil {
		return nil, fmt.Errorf("write the project: %w", err)
	}
	return p, p.writeRoot()
}

// Dir is the project's directory.
func (p *Project) Dir() string { return filepath.Join(p.root, "project") }

// writeRoot makes a root file system of files of this machine.
func (p *Project) writeRoot() error {
	bin := filepath.Join(p.Dir(), "files/root/bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return fmt.Errorf("write the root file system: %w", err)
	}
	if err := copyFile(busybox, filepath.Join(bin, "busybox")); err != nil {
		return fmt.Errorf("write the root file system: %w", err)
	}
	for _, name := range applets {
		if err := os.Symlink("busybox", filepath.Join(bin, name)); err != nil {
			return fmt.Errorf("write the root file system: %w", err)
		}
	}
	return nil
}

// copyFile copies a program.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// Client is a user with caches of his own.
type Client struct {
	project *Project
	home    string
}

// Client makes a user whose builds run on the server, by his user configuration
// and nothing else.
func (p *Project) Client(name, server, instance string) (*Client, error) {
	c := &Client{project: p, home: filepath.Join(p.root, name)}
	if err := os.MkdirAll(c.home, 0o755); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "cachedir: %s/cache\nscheduler:\n  on-error: terminate\nremote-execution:\n", c.home)
	for _, service := range []string{"execution-service", "storage-service", "action-cache-service"} {
		fmt.Fprintf(&b, "  %s:\n    url: http://%s\n    instance-name: %s\n", service, server, instance)
	}
	return c, os.WriteFile(filepath.Join(c.home, "buildstream.conf"), []byte(b.String()), 0o644)
}

// Run runs a command of bst and returns what it prints. An exit code other than 0
// is an error.
func (c *Client) Run(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandPatience)
	defer cancel()
	args = append([]string{"--no-interactive", "--no-colors", "--config", filepath.Join(c.home, "buildstream.conf")}, args...)
	cmd := exec.CommandContext(ctx, c.project.bst, args...)
	cmd.Dir = c.project.Dir()
	cmd.Env = []string{"HOME=" + c.home, "PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C.UTF-8"}
	cmd.WaitDelay = time.Second // for what it left in the background
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("bst %s: %w", strings.Join(args, " "), err)
	}
	return out.String(), nil
}

// Checkout returns the files of an element's artifact, by path; of a symlink
// "-> " and its target, of a directory "/".
func (c *Client) Checkout(ctx context.Context, element string) (map[string]string, error) {
	dir := filepath.Join(c.home, "checkout-"+element)
	if out, err := c.Run(ctx, "artifact", "checkout", "--deps", "none", "--no-integrate", "--directory", dir, element); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch d.Type() {
		case fs.ModeDir:
			found[name] = "/"
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			found[name] = "-> " + target
			return err
		default:
			data, err := os.ReadFile(path)
			found[name] = string(data)
			return err
		}
		return nil
	})
	return found, err
}
